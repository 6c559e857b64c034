//! How things look: icons and colours on a terminal, plain ASCII anywhere else.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style as Ansi};
use comfy_table::{Cell, Color, Table, presets};

use super::view::State;

/// Width of lines where no terminal says otherwise.
const PLAIN_WIDTH: usize = 100;
/// Narrowest and widest lines of prose: longer ones are hard to read.
const WIDTHS: (usize, usize) = (40, 120);

/// How output looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Icons and lines beyond ASCII.
    pub icons: bool,
    /// Colours.
    pub colours: bool,
    /// Width of a line of prose.
    pub width: usize,
}

/// Characters that a tree is drawn with.
#[derive(Debug, Clone, Copy)]
pub struct Branches {
    /// Before an item that others follow.
    pub middle: &'static str,
    /// Before the last item.
    pub last: &'static str,
    /// Below an item that others follow.
    pub through: &'static str,
    /// Below the last item.
    pub blank: &'static str,
}

impl Style {
    /// Plain ASCII without colours.
    pub const PLAIN: Self = Self { icons: false, colours: false, width: PLAIN_WIDTH };

    /// Returns the style for standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let width = terminal_size::terminal_size().map_or(PLAIN_WIDTH, |(width, _)| usize::from(width.0));
        Self { icons: is_utf8(), colours: !set("NO_COLOR") && !dumb, width: width.clamp(WIDTHS.0, WIDTHS.1) }
    }

    /// Returns the sign of a state.
    #[must_use]
    pub const fn icon(self, state: State) -> &'static str {
        match (state, self.icons) {
            (State::Off, true) => "•",
            (State::Well, true) => "✔",
            (State::Moving, true) => "◌",
            (State::Waiting, true) => "◷",
            (State::Unknown, _) => "?",
            (State::Warning, true) => "⚠",
            (State::Bad, true) => "✖",
            (State::Off, false) => ".",
            (State::Well, false) => "+",
            (State::Moving, false) => "~",
            (State::Waiting, false) => "=",
            (State::Warning, false) => "!",
            (State::Bad, false) => "x",
        }
    }

    /// Returns what a tree is drawn with.
    #[must_use]
    pub const fn branches(self) -> Branches {
        if self.icons {
            Branches { middle: "├─ ", last: "└─ ", through: "│  ", blank: "   " }
        } else {
            Branches { middle: "|- ", last: "`- ", through: "|  ", blank: "   " }
        }
    }

    /// Returns an arrow.
    #[must_use]
    pub const fn arrow(self) -> &'static str {
        if self.icons { "→" } else { "->" }
    }

    /// Returns a text in the colour of a state.
    #[must_use]
    pub fn paint(self, state: State, text: &str) -> String {
        let style = match state {
            State::Off => Ansi::new().dimmed(),
            State::Well => AnsiColor::Green.on_default(),
            State::Moving => AnsiColor::Cyan.on_default(),
            State::Waiting | State::Warning | State::Unknown => AnsiColor::Yellow.on_default(),
            State::Bad => AnsiColor::Red.on_default(),
        };
        self.with(style, text)
    }

    /// Returns a heading.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with(Ansi::new().bold(), text)
    }

    fn with(self, style: Ansi, text: &str) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Returns a cell with the sign and the words of a state.
    #[must_use]
    pub fn cell(self, state: State, words: &str) -> Cell {
        let cell = Cell::new(format!("{} {words}", self.icon(state)));
        match state {
            State::Off => cell.fg(Color::DarkGrey),
            State::Well => cell.fg(Color::DarkGreen),
            State::Moving => cell.fg(Color::DarkCyan),
            State::Waiting | State::Warning | State::Unknown => cell.fg(Color::DarkYellow),
            State::Bad => cell.fg(Color::DarkRed),
        }
    }

    /// Returns an empty table without lines, as kubectl's are.
    #[must_use]
    pub fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if self.colours {
            table.enforce_styling();
        }
        table.set_header(header.to_vec());
        table
    }

    /// Returns a text broken into lines, the first after a head, the others below its text.
    #[must_use]
    pub fn hang(self, head: &str, text: &str) -> String {
        let blank = " ".repeat(textwrap::core::display_width(head));
        let options = textwrap::Options::new(self.width).initial_indent(head).subsequent_indent(&blank);
        // Commands and names must stay whole to be copied.
        let options = options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
        textwrap::fill(text, options)
    }
}

/// Returns a table as text, without the blanks that kubectl does not print either.
#[must_use]
pub fn text_of(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Returns whether the locale says UTF-8, as POSIX reads it: the first of these that is set decides.
fn is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_default()
        .to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
