checks() { :; }; checks_debug() { :; }
