products_stage() { :; }
demo() { :; }
