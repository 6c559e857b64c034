//! Times as people read them.

use jiff::Timestamp;

/// Returns how long ago something was, as kubectl writes ages.
#[must_use]
pub fn age(from: Option<Timestamp>, now: Timestamp) -> String {
    from.map_or_else(|| "-".to_owned(), |from| length(now.duration_since(from).as_secs()))
}

/// Returns a length of time with the precision that matters at its size.
#[must_use]
pub fn length(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let seconds = seconds.max(0);
    let two = |big: i64, unit: &str, small: i64, rest: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{rest}") }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}

/// Returns a time of day, with the date when it was another day.
#[must_use]
pub fn at(time: Timestamp, now: Timestamp) -> String {
    let same_day = time.strftime("%F").to_string() == now.strftime("%F").to_string();
    time.strftime(if same_day { "%H:%M:%S UTC" } else { "%F %H:%M UTC" }).to_string()
}

/// Returns how far away a time is.
#[must_use]
pub fn until(time: Timestamp, now: Timestamp) -> String {
    let seconds = time.duration_since(now).as_secs();
    if seconds >= 0 { format!("in {}", length(seconds)) } else { format!("{} ago", length(-seconds)) }
}

/// Returns one line: what follows a line break is kept, the break is not.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a problem without the kubelet's note on when it tries again: that changes by itself, repeats names
/// that stand beside it, and hides the cause that follows.
#[must_use]
pub fn cause(problem: &str) -> String {
    let line = one_line(problem);
    let Some((before, rest)) = line.split_once(": back-off ") else { return line };
    rest.split_once("; ").map_or_else(|| before.to_owned(), |(_, after)| format!("{before}; {after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        let table = [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (3_600, "60m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (100_000, "27h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ];
        for (seconds, text) in table {
            assert_eq!(length(seconds), text);
        }
    }

    #[test]
    fn the_date_is_said_of_another_day_only() {
        let now: Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
        assert_eq!(at("2026-11-21T03:04:05Z".parse().unwrap(), now), "03:04:05 UTC");
        assert_eq!(at("2026-11-20T23:59:59Z".parse().unwrap(), now), "2026-11-20 23:59 UTC");
        assert_eq!(until("2026-11-21T14:01:00Z".parse().unwrap(), now), "in 60s");
        assert_eq!(until("2026-11-21T13:57:00Z".parse().unwrap(), now), "3m ago");
    }

    #[test]
    fn the_cause_of_a_crash_loop_is_not_hidden_by_its_back_off() {
        let table = [
            ("container web is in ErrImagePull: not found", "container web is in ErrImagePull: not found"),
            ("container web is in CrashLoopBackOff: back-off 10s restarting", "container web is in CrashLoopBackOff"),
            (
                "container web is in CrashLoopBackOff: back-off 10s restarting failed container=web pod=web_x(1);\n \
                 container web ended with exit code 2 (Error)",
                "container web is in CrashLoopBackOff; container web ended with exit code 2 (Error)",
            ),
        ];
        for (problem, text) in table {
            assert_eq!(cause(problem), text);
        }
    }
}
