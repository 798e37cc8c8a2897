//! Colours, and columns as kubectl has them.

/// Whether an answer has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// The terminal's own.
    Plain,
    /// What comes is green, what goes is red.
    Coloured,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// A line of a unified difference, by its first character.
    pub(super) fn line(self, line: &str) -> String {
        match line.as_bytes().first() {
            Some(b'+') => self.with("32", line),
            Some(b'-') => self.with("31", line),
            Some(b'@') => self.with("36", line),
            _ => line.to_owned(),
        }
    }
}

/// Columns with three spaces between them; the last one is as long as it is. Columns without any text stay, as kubectl has them.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = width(column).unwrap_or_default() - cell.chars().count() + 3;
            line.push_str(cell);
            line.push_str(&" ".repeat(padding));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [["NAME", "MESSAGE"], ["ä", "one"], ["longer", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "NAME     MESSAGE\nä        one\nlonger\n");
    }

    #[test]
    fn only_what_is_asked_for_has_colours() {
        assert_eq!(Paint::Plain.line("+ a"), "+ a");
        assert_eq!(Paint::Coloured.line("+ a"), "\x1b[32m+ a\x1b[0m");
        assert_eq!(Paint::Coloured.line("  a"), "  a");
    }
}
