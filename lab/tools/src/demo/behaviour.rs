//! What is answered when: pure functions of the settings and the moment. No clock, no socket, no file.

use std::time::Duration;

use super::settings::Serve;

/// What is true of the application at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Since the start.
    pub up: Duration,
    /// Since the first ordinary request, if there was one.
    pub serving: Option<Duration>,
    /// Whether SIGTERM has come.
    pub draining: bool,
    /// Why the database is of no use, if it is not.
    pub database: Option<&'static str>,
    /// Whether the file that makes unready exists.
    pub unready_file_exists: bool,
    /// Which of its kind it is: pods that start one after the other get addresses one after the other.
    pub place: u8,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`
    Root,
    /// `/order`
    Order,
    /// `/ready`
    Ready,
    /// `/healthz`
    Healthz,
    /// `/smoke`
    Smoke,
    /// `/slow?ms=n`
    Slow(Duration),
    /// The path that answers 500.
    Failing,
    /// None of these.
    Unknown,
}

/// The longest that `/slow` takes, whatever is asked for: nothing in the lab waits longer for an answer.
const SLOW_LIMIT: Duration = Duration::from_secs(60);
/// Between the failures of two pods, which is how often they are probed, and how many different moments there are.
const STAGGER: Duration = Duration::from_secs(1);
const STAGGERED: u8 = 3;

/// Reads path and query. A path that was chosen to fail does so even if it is one of the others.
pub fn route(settings: &Serve, path: &str, query: Option<&str>) -> Route {
    if settings.fail_path.as_deref() == Some(path) {
        return Route::Failing;
    }
    match path {
        "/" => Route::Root,
        "/order" => Route::Order,
        "/ready" => Route::Ready,
        "/healthz" => Route::Healthz,
        "/smoke" => Route::Smoke,
        "/slow" => Route::Slow(slow_length(query)),
        _ => Route::Unknown,
    }
}

fn slow_length(query: Option<&str>) -> Duration {
    let ms = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("ms=")?.parse().ok());
    Duration::from_millis(ms.unwrap_or(0)).min(SLOW_LIMIT)
}

/// Tells whether a request is a user's. Probes and checks come before the switch too, and must not start the
/// countdown to a failure that is meant to come after it.
pub fn is_ordinary(path: &str, has_check_header: bool) -> bool {
    !has_check_header && !matches!(path, "/ready" | "/healthz" | "/smoke")
}

/// Says why the application is not ready, or nothing when it is.
pub fn why_unready(settings: &Serve, moment: &Moment) -> Option<&'static str> {
    let reasons = [
        (moment.draining, "SIGTERM has come"),
        (moment.up < settings.ready_after, "READY_AFTER has not passed"),
        (settings.unready_after.is_some_and(|after| moment.up >= after), "UNREADY_AFTER has passed"),
        (moment.unready_file_exists, "UNREADY_FILE exists"),
        (
            has_served(moment, settings.unready_when_serving.map(|after| after + stagger(moment.place))),
            "UNREADY_WHEN_SERVING has passed",
        ),
    ];
    reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason)).or(moment.database)
}

/// Returns how much later than others of its kind a pod fails: real ones do not all fail in one moment, and nothing and
/// nobody could take traffic back before the last of them has.
fn stagger(place: u8) -> Duration {
    STAGGER * u32::from(place % STAGGERED)
}

/// Tells whether `/smoke` fails.
pub fn smoke_fails(settings: &Serve, moment: &Moment) -> bool {
    has_served(moment, settings.fail_smoke_when_serving)
}

fn has_served(moment: &Moment, length: Option<Duration>) -> bool {
    length.zip(moment.serving).is_some_and(|(length, serving)| serving >= length)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::settings::Program;
    use super::*;

    fn settings(arguments: &[&str]) -> Serve {
        Program::parse_from([&["demo-app"], arguments].concat()).serve
    }

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn readiness_follows_each_setting_and_only_it() {
        let up = |number| Moment { up: second(number), ..Moment::default() };
        let serving = |number| Moment { serving: Some(second(number)), ..up(100) };
        let draining = Moment { draining: true, ..up(9) };
        let database = Moment { database: Some("no answer yet"), ..up(9) };
        let file = Moment { unready_file_exists: true, ..up(9) };
        let rows: &[(&[&str], Moment, bool)] = &[
            (&[], up(0), true),
            (&[], serving(1000), true),
            (&[], draining, false),
            (&[], file, false),
            (&[], database, false),
            (&["--ready-after=3"], up(2), false),
            (&["--ready-after=3"], up(3), true),
            (&["--unready-after=3"], up(2), true),
            (&["--unready-after=3"], up(3), false),
            (&["--unready-when-serving=3"], up(1000), true),
            (&["--unready-when-serving=3"], serving(2), true),
            (&["--unready-when-serving=3"], serving(3), false),
            (&["--unready-when-serving=0"], serving(0), false),
        ];
        for (arguments, moment, ready) in rows {
            assert_eq!(why_unready(&settings(arguments), moment).is_none(), *ready, "{arguments:?} at {moment:?}");
        }
    }

    #[test]
    fn smoke_fails_only_after_serving_for_a_while() {
        let settings = settings(&["--fail-smoke-when-serving=2"]);
        let serving = |serving| Moment { serving, ..Moment::default() };
        assert!(!smoke_fails(&settings, &serving(None)));
        assert!(!smoke_fails(&settings, &serving(Some(second(1)))));
        assert!(smoke_fails(&settings, &serving(Some(second(2)))));
    }

    #[test]
    fn probes_and_checks_are_not_ordinary() {
        assert!(is_ordinary("/", false) && is_ordinary("/slow", false));
        assert!(!is_ordinary("/", true));
        assert!(["/ready", "/healthz", "/smoke"].iter().all(|path| !is_ordinary(path, false)));
    }

    #[test]
    fn routes() {
        let settings = settings(&["--fail-path=/smoke"]);
        assert_eq!(route(&settings, "/smoke", None), Route::Failing);
        assert_eq!(route(&settings, "/slow", Some("a=b&ms=20")), Route::Slow(Duration::from_millis(20)));
        assert_eq!(route(&settings, "/slow", Some("ms=999999999")), Route::Slow(SLOW_LIMIT));
        assert_eq!(route(&settings, "/slow", Some("ms=-1")), Route::Slow(Duration::ZERO));
        assert_eq!(route(&settings, "/other", None), Route::Unknown);
    }
}
