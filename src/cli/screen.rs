//! A page on a terminal that is drawn again and again. The terminal is put back when it goes out of scope.

use super::{problem::Problem, show::print};

/// Where a screen's height is not known.
const LINES: usize = 24;

/// Switches to the alternate screen without line wrapping and without cursor: a long line is cut, not folded,
/// so that lines can be counted.
const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?7h\x1b[?1049l";

/// The alternate screen of a terminal.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn enter() -> Result<Self, Problem> {
        print(ENTER)?;
        Ok(Self(()))
    }

    /// Returns how many lines there are.
    #[must_use]
    pub fn height() -> usize {
        terminal_size::terminal_size().map_or(LINES, |(_, height)| usize::from(height.0))
    }

    /// Draws a page over the last one.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn draw(&self, page: &str) -> Result<(), Problem> {
        let height = Self::height();
        // Each line is cleared behind its end instead of the screen before it: that would flicker.
        let lines: Vec<&str> = page.lines().collect();
        let hidden = lines.len().saturating_sub(height);
        let shown = if hidden == 0 { lines.len() } else { height.saturating_sub(1) };
        let mut frame = String::from("\x1b[H");
        for line in lines.iter().take(shown) {
            frame.push_str(line);
            frame.push_str("\x1b[K\r\n");
        }
        if hidden > 0 {
            frame.push_str(&format!("... {} more lines\x1b[K", hidden + 1));
        }
        frame.push_str("\x1b[J");
        print(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = print(LEAVE);
    }
}
