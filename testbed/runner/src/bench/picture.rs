// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Draws the ratios as bars, with a line at the ratio 1.

use std::fmt::Write;

use super::rows::{Compared, Target};

/// The position at which the bars begin, and the length of a bar of ratio 1.
const LEFT: f64 = 300.0;
const ONE: f64 = 300.0;
/// The largest ratio that is drawn.
const LONGEST: f64 = 1.3;
const HEIGHT: f64 = 20.0;
const TOP: f64 = 48.0;

struct Bar {
    name: String,
    ratio: f64,
    target: Option<f64>,
    colour: &'static str,
}

/// Returns the bars of a row: its total, and the driver's share of it.
fn bars(compared: &Compared<'_>) -> Vec<Bar> {
    let (total, share) = match compared.row.target {
        Some(Target::Total(limit)) => (Some(limit), None),
        Some(Target::Share(limit)) => (None, Some(limit)),
        _ => (None, None),
    };
    let name = |what| format!("{} {}{what}", compared.row.path, compared.row.title);
    let bar = |name, ratio: Option<f64>, target, colour| {
        ratio.map(|ratio| Bar {
            name,
            ratio,
            target,
            colour,
        })
    };
    let all = [
        bar(name(""), compared.ratio(), total, "#4878a8"),
        bar(
            name(", driver's share"),
            compared.share_ratio(),
            share,
            "#78a8d8",
        ),
    ];
    all.into_iter().flatten().collect()
}

/// Returns the picture as SVG.
pub fn svg(rows: &[Compared<'_>], caption: &str) -> String {
    let bars: Vec<_> = rows.iter().flat_map(bars).collect();
    let bottom = TOP + HEIGHT * bars.len() as f64;
    let (width, height) = (LEFT + ONE * LONGEST + 70.0, bottom + 28.0);
    let same = LEFT + ONE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\" font-weight=\"bold\">\
         Our driver over upstream's, in instructions: less is better</text>\n\
         <text x=\"8\" y=\"36\" fill=\"#666\">{}</text>\n",
        escaped(caption)
    );
    for (bar, place) in bars.iter().zip(0..) {
        let y = TOP + HEIGHT * f64::from(place);
        let length = ONE * bar.ratio.clamp(0.0, LONGEST);
        let (middle, thick) = (y + 14.0, HEIGHT - 5.0);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"{thick}\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{middle}\">{:.2}</text>",
            LEFT - 8.0,
            escaped(&bar.name),
            y + 2.0,
            bar.colour,
            LEFT + length + 5.0,
            bar.ratio
        );
        if let Some(target) = bar.target {
            let x = LEFT + ONE * target;
            let _ = writeln!(
                text,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y}\" y2=\"{}\" \
                 stroke=\"#208020\" stroke-width=\"2\"/>",
                y + HEIGHT - 1.0
            );
        }
    }
    let _ = writeln!(
        text,
        "<line x1=\"{same}\" x2=\"{same}\" y1=\"{}\" y2=\"{bottom}\" stroke=\"#c02020\"/>\
         <text x=\"{same}\" y=\"{}\" text-anchor=\"middle\" fill=\"#c02020\">1.0</text>\
         <text x=\"{LEFT}\" y=\"{}\" fill=\"#208020\">| target</text>\n</svg>",
        TOP - 4.0,
        bottom + 16.0,
        bottom + 16.0
    );
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
