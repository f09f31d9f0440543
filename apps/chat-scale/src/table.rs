use std::fmt;

/// A table of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The name of the scenario, and a number if it has several tables.
    pub name: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table without rows.
    pub fn new<const N: usize>(name: &str, header: [&str; N]) -> Self {
        let rows = vec![header.map(ToOwned::to_owned).to_vec(), vec!["---".to_owned(); N]];
        Self { name: name.to_owned(), rows }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|row| {
            let is_rule = row.iter().all(|cell| cell == "---");
            let (edge, between) = if is_rule { ("|", "|") } else { ("| ", " | ") };
            writeln!(f, "{edge}{}{}", row.join(between), if is_rule { "|" } else { " |" })
        })
    }
}

/// Returns a document in which each table after a line `<!-- just scale NAME -->` is the one of this name.
pub fn updated(document: &str, tables: &[Table]) -> String {
    let mut updated = String::new();
    let mut is_replaced = false;
    for line in document.lines() {
        is_replaced &= line.starts_with('|');
        if !is_replaced {
            updated.push_str(line);
            updated.push('\n');
        }
        let name = line.strip_prefix("<!-- just scale ").and_then(|line| line.strip_suffix(" -->"));
        if let Some(table) = tables.iter().find(|table| Some(&*table.name) == name) {
            updated.push_str(&table.to_string());
            is_replaced = true;
        }
    }
    updated
}

/// Returns a number with three significant digits, and with separators.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "-".to_owned() };
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    if digits > 0 {
        let text = format!("{value:.*}", digits.unsigned_abs().min(4) as usize);
        return if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        };
    }
    let unit = 10_f64.powi(-digits);
    count(((value / unit).round() * unit) as u64)
}

/// Returns a whole number with separators.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a time in seconds with a unit.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s < 0.000_999_5 => format!("{} us", number(s * 1e6)),
        s if s < 0.999_5 => format!("{} ms", number(s * 1e3)),
        s if s < 3_600.0 => format!("{} s", number(s)),
        s => format!("{} h", number(s / 3_600.0)),
    }
}

/// Returns a share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [0.0, 0.004_56, 0.5, 9.1, 47.04, 999.6, 1_234.0, 62_900.0, 12_345_678.0];
        let texts = ["0", "0.0046", "0.5", "9.1", "47", "1,000", "1,230", "62,900", "12,300,000"];
        assert_eq!(numbers.map(number), texts);
        assert_eq!(
            [0.000_5, 0.25, 2.0, 123.4, 86_400.0].map(time),
            ["500 us", "250 ms", "2 s", "123 s", "24 h"]
        );
    }

    #[test]
    fn a_document_gets_the_tables_that_it_names() {
        let mut table = Table::new("b", ["x", "y"]);
        table.row(["1".to_owned(), "2".to_owned()]);
        let document = "A\n\n<!-- just scale b -->\n| old |\n|---|\n\nEnd\n<!-- just scale c -->\n| kept |\n";
        let expected = "A\n\n<!-- just scale b -->\n| x | y |\n|---|---|\n| 1 | 2 |\n\nEnd\n<!-- just scale c -->\n| kept |\n";
        assert_eq!(updated(document, &[table]), expected);
    }
}
