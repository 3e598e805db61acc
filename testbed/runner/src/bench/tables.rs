// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The figures as tables: Markdown for the screen and for a page, and CSV for reStructuredText.

use std::{fmt::Write, io};

use super::{figures::Figure, rows::Compared};

/// The headings of the columns.
const HEADS: [&str; 10] = [
    "",
    "operation",
    "upstream",
    "ours",
    "ratio",
    "upstream's share",
    "our share",
    "ratio",
    "target",
    "met",
];

/// Returns the cells of a row.
fn cells(compared: &Compared<'_>) -> [String; 10] {
    let number = |number: Option<f64>| match number {
        Some(number) if compared.ours.is_ratio() => format!("{number:.2}"),
        Some(number) => format!("{number:.0}"),
        None => String::new(),
    };
    let total = |figure: &Figure| match figure.is_never() {
        true => "never".to_owned(),
        false => number(figure.total()),
    };
    let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let met = match compared.is_met() {
        None => "",
        Some(true) => "yes",
        Some(false) => "**no**",
    };
    [
        compared.row.path.to_owned(),
        compared.row.title.to_owned(),
        total(compared.upstream),
        total(compared.ours),
        ratio(compared.ratio()),
        number(compared.upstream.share()),
        number(compared.ours.share()),
        ratio(compared.share_ratio()),
        compared
            .row
            .target
            .map_or_else(String::new, |target| target.text()),
        met.to_owned(),
    ]
}

/// Returns a Markdown table with aligned columns, which also suits the screen.
pub fn markdown(rows: &[Compared<'_>]) -> String {
    let heads = HEADS.map(str::to_owned);
    let rows: Vec<_> = rows.iter().map(cells).collect();
    let widths: [usize; HEADS.len()] = std::array::from_fn(|column| {
        let all = rows.iter().chain([&heads]);
        all.map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = String::new();
    let mut line = |cells: &[String; HEADS.len()]| {
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let is_number = (2..8).contains(&column);
            // Writing to a string does not fail.
            let _ = match is_number {
                true => write!(text, "| {cell:>width$} "),
                false => write!(text, "| {cell:<width$} "),
            };
        }
        text += "|\n";
    };
    line(&heads);
    line(&std::array::from_fn(|column| match column {
        2..8 => "-".repeat(widths[column] - 1) + ":",
        _ => "-".repeat(widths[column]),
    }));
    rows.iter().for_each(line);
    text
}

/// Returns the CSV of reStructuredText's `csv-table`.
pub fn csv(rows: &[Compared<'_>]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADS)?;
    for row in rows {
        writer.write_record(cells(row))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}
