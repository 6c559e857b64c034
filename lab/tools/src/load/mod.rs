//! The load generator: asks one URL at a fixed rate and accounts for every request.
//!
//! In: [`Settings`]. Out: a [`report::Report`] as a file and as the last line of standard output; exit code 0 when
//! every request was answered, 3 when not, 2 when it could not run at all. [`schedule`] says what is due when
//! (pure), [`attempt`] carries one request to its end, [`tally`] adds up (pure), [`session`] joins them.

mod attempt;
mod report;
mod schedule;
mod session;
mod settings;
mod stop;
mod tally;

use std::process::ExitCode;

use crate::lines;
pub use settings::Settings;

/// Some request was not answered.
const LOST: u8 = 3;
/// There is no result: the command line, or the report's file.
const COULD_NOT_RUN: u8 = 2;

/// Runs to the end and reports.
pub async fn run(settings: Settings) -> ExitCode {
    let stops = match stop::listen(settings.until_stdin_closes) {
        Ok(stops) => stops,
        Err(error) => return could_not_run(&format!("could not listen for signals: {error}")),
    };
    let file = settings.report.clone();
    let report = session::run(&settings, stops).await;
    let written =
        file.map_or(Ok(()), |file| report.write(&file).map_err(|error| format!("{}: {error}", file.display())));
    lines::out(report.line());
    match written {
        Err(error) => could_not_run(&format!("could not write the report {error}")),
        Ok(()) if report.is_clean() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(LOST),
    }
}

fn could_not_run(message: &str) -> ExitCode {
    lines::err(format_args!("load: {message}"));
    ExitCode::from(COULD_NOT_RUN)
}
