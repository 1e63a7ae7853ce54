//! Columns: what Go's `text/tabwriter` does with docker's settings (cells of ten columns at least, three spaces between).

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Turns tabs into spaces so that columns stand below each other. A column is a run of lines that have a cell there.
pub(crate) fn align(text: &str) -> String {
    align_with(text, MIN_WIDTH, PADDING)
}

/// Turns tabs into spaces so that columns stand below each other, each at least this wide, with so many spaces between.
pub fn align_with(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            // The last cell of a line is not ended by a tab and belongs to no column.
            let has = |line: &Vec<&str>| line.len() > column + 1;
            if !has(&lines[start]) {
                start += 1;
                continue;
            }
            let length = lines[start..].iter().take_while(|line| has(line)).count();
            let block = start..start + length;
            let longest =
                lines[block.clone()].iter().map(|line| line[column].chars().count()).max();
            let width = (longest.unwrap_or(0) + padding).max(min_width);
            for line in block {
                widths[line][column] = width;
            }
            start += length;
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (at, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (cell, width) in cells.iter().zip(widths) {
            out.push_str(cell);
            let missing = width.saturating_sub(cell.chars().count());
            out.extend(std::iter::repeat_n(' ', missing));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            align("A\tB\tC\na-long-cell\tb\tc\n"),
            "A             B         C\na-long-cell   b         c\n"
        );
        assert_eq!(align("one\nA\tB\n"), "one\nA         B\n");
        assert_eq!(align("A\t\nb\t\n"), "A         \nb         \n");
    }
}
