//! Shows a page again whenever the objects behind it change. Watches tell of changes; nothing is polled.

use std::{collections::BTreeMap, io::IsTerminal as _, time::Duration};

use futures::{Stream, StreamExt as _};
use tokio::time::MissedTickBehavior;

use super::{
    problem::Problem,
    screen::Screen,
    show::{Output, Page, json_line, print, yaml},
    style::Style,
    text::Detail,
};
use crate::clock;

/// Shortest time between two drawings: changes come in bursts.
const FRAME: Duration = Duration::from_millis(100);
/// After how many frames without a change the ages are drawn again.
const FRAMES_PER_AGE: u32 = 10;

/// What a stream of changes comes to.
pub enum News {
    /// A page, as it is now; `None` while not everything is known.
    Page(Option<Page>),
    /// There is nothing to show any more; why.
    End(String),
}

/// How changes are shown.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// What was asked for.
    pub output: Option<Output>,
    /// How it looks.
    pub style: Style,
}

/// Shows every change until there is nothing to show any more or the user interrupts.
///
/// # Errors
/// When the output cannot be written.
pub async fn follow<C>(
    changes: impl Stream<Item = C> + Unpin,
    form: Form,
    take: impl FnMut(Option<C>) -> News,
) -> Result<(), Problem> {
    let drawn = matches!(form.output, None | Some(Output::Wide)) && std::io::stdout().is_terminal();
    if drawn { on_screen(changes, form, take).await } else { as_lines(changes, form, take).await }
}

async fn on_screen<C>(
    mut changes: impl Stream<Item = C> + Unpin,
    form: Form,
    mut take: impl FnMut(Option<C>) -> News,
) -> Result<(), Problem> {
    let detail = if form.output.is_some() { Detail::Wide } else { Detail::Normal };
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut interrupt = std::pin::pin!(interrupted());
    let mut screen = None;
    let (mut changed, mut idle) = (false, 0);
    let mut last = String::new();
    let end = loop {
        tokio::select! {
            biased;
            () = &mut interrupt => break String::new(),
            change = changes.next() => match change {
                None => break String::new(),
                Some(change) => match take(Some(change)) {
                    News::End(why) => break why,
                    News::Page(_) => changed = true,
                },
            },
            _ = frames.tick() => {
                idle += 1;
                if !changed && idle < FRAMES_PER_AGE {
                    continue;
                }
                if let News::Page(Some(page)) = take(None) {
                    (changed, idle) = (false, 0);
                    let style = Style { width: Style::of_stdout().width, ..form.style };
                    last = page.text(style, detail);
                    if screen.is_none() {
                        screen = Some(Screen::enter()?);
                    }
                    if let Some(screen) = &screen {
                        let fits = last.lines().count() <= Screen::height();
                        screen.draw(&if fits { last.clone() } else { page.text(style, Detail::Brief) })?;
                    }
                }
            },
        }
    };
    drop(screen);
    print(&last)?;
    if end.is_empty() { Ok(()) } else { print(&format!("{end}\n")) }
}

async fn as_lines<C>(
    mut changes: impl Stream<Item = C> + Unpin,
    form: Form,
    mut take: impl FnMut(Option<C>) -> News,
) -> Result<(), Problem> {
    let mut interrupt = std::pin::pin!(interrupted());
    let mut shown: Option<Page> = None;
    loop {
        let change = tokio::select! {
            biased;
            () = &mut interrupt => return Ok(()),
            change = changes.next() => change,
        };
        let Some(change) = change else { return Ok(()) };
        let page = match take(Some(change)) {
            News::End(why) => return print(&format!("{} {why}\n", time())),
            News::Page(None) => continue,
            News::Page(Some(page)) => page,
        };
        if shown.as_ref().is_some_and(|shown| shown.timeless() == page.timeless()) {
            continue;
        }
        print(&text(&page, shown.as_ref(), form)?)?;
        shown = Some(page);
    }
}

/// Waits until somebody wants the program to end; the terminal has to be put back first.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut ended) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = ended.recv() => {}
            }
            return;
        }
    }
    // Without a way to hear of it the program ends where it is.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn text(page: &Page, before: Option<&Page>, form: Form) -> Result<String, Problem> {
    match form.output {
        Some(Output::Json) => json_line(page),
        Some(Output::Yaml) => yaml(page).map(|text| format!("---\n{text}")),
        Some(Output::Name) => page.formatted(form.output, form.style),
        None | Some(Output::Wide) => {
            let none = BTreeMap::new();
            Ok(differences(&before.map_or(none, Page::facts), &page.facts(), &time()))
        }
    }
}

fn time() -> String {
    clock::now().strftime("%FT%H:%M:%SZ").to_string()
}

/// Returns one line for each object of which something else is said than before.
#[must_use]
pub fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, time: &str) -> String {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name, "gone"));
    let new =
        after.iter().filter(|(name, says)| before.get(*name) != Some(says)).map(|(name, says)| (name, says.as_str()));
    // The Release first: what it says is the reason for the rest.
    let mut lines: Vec<(&String, &str)> = new.chain(gone).collect();
    lines.sort_by_key(|(name, _)| !name.starts_with("Release "));
    lines.into_iter().map(|(name, says)| format!("{time} {name}: {says}\n")).collect()
}
