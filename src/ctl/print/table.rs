//! The format with frames: heads in the middle of their columns, values at the right.

/// A frame around `rows`; without rows the heads stand alone.
pub(super) fn draw(heads: &[&str], rows: &[Vec<String>]) -> Vec<u8> {
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let cells = rows.iter().map(|row| width(&row[column]));
            cells.chain([width(head)]).max().unwrap_or_default()
        })
        .collect();
    let mut out = rule(&widths, '┌', '┬', '┐');
    out += &line(heads.iter().zip(&widths).map(|(head, &columns)| {
        let space = columns - width(head);
        format!("{}{head}{}", " ".repeat(space / 2), " ".repeat(space - space / 2))
    }));
    if !rows.is_empty() {
        out += &rule(&widths, '├', '┼', '┤');
    }
    for row in rows {
        out += &line(
            row.iter()
                .zip(&widths)
                .map(|(cell, &columns)| format!("{}{cell}", " ".repeat(columns - width(cell)))),
        );
    }
    out += &rule(&widths, '└', '┴', '┘');
    out.into_bytes()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn rule(widths: &[usize], left: char, between: char, right: char) -> String {
    let spans: Vec<_> = widths.iter().map(|columns| "─".repeat(columns + 2)).collect();
    format!("{left}{}{right}\n", spans.join(&between.to_string()))
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("│ {} │\n", cells.join(" │ "))
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn a_table_is_framed() {
        let rows = [vec!["a".to_owned(), "false".to_owned()], vec!["long cell".to_owned(), String::new()]];
        let want = "\
┌───────────┬────────┐
│   NAME    │ HEALTH │
├───────────┼────────┤
│         a │  false │
│ long cell │        │
└───────────┴────────┘
";
        assert_eq!(String::from_utf8(draw(&["NAME", "HEALTH"], &rows)).unwrap(), want);
        assert_eq!(String::from_utf8(draw(&["A"], &[])).unwrap(), "┌───┐\n│ A │\n└───┘\n");
    }
}
