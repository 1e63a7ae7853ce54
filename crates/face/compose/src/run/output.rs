//! What a container or a command in it has said: both outputs together, the end of them.

use ferry_cli::face::CliError;
use ferry_docker_api::stream::{Demultiplexer, StreamKind};

/// So much is kept; what was said before is not shown.
const MOST: usize = 1 << 20;

/// Output that is still coming.
#[derive(Debug, Default)]
pub(crate) struct Output {
    demultiplexer: Demultiplexer,
    kept: Vec<u8>,
}

impl Output {
    /// More of the stream.
    pub(crate) fn add(&mut self, mut chunk: &[u8]) -> Result<(), CliError> {
        while let Some((kind, piece)) =
            self.demultiplexer.next(&mut chunk).map_err(|error| CliError::new(error.to_string()))?
        {
            if matches!(kind, StreamKind::Stdout | StreamKind::Stderr) {
                self.kept.extend_from_slice(piece);
            }
        }
        // Not for each piece: what stays has to be moved.
        if self.kept.len() > 2 * MOST {
            self.shorten();
        }
        Ok(())
    }

    fn shorten(&mut self) {
        self.kept.drain(..self.kept.len().saturating_sub(MOST));
    }

    /// All of it, or its end.
    pub(crate) fn text(mut self) -> String {
        self.shorten();
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_what_is_kept() {
        let mut output = Output::default();
        for number in 0..300_u32 {
            let said = [b'x'; 16 << 10];
            let stream = if number % 2 == 0 { 1 } else { 2 };
            output.add(&[stream, 0, 0, 0, 0, 0, 0x40, 0]).unwrap();
            output.add(&said).unwrap();
        }
        output.add(&[2, 0, 0, 0, 0, 0, 0, 3, b'e', b'n', b'd']).unwrap();
        let text = output.text();
        assert!(text.ends_with("xxend"), "{}", &text[text.len() - 10..]);
        assert_eq!(text.len(), MOST);
    }
}
