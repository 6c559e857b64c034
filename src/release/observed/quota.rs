//! What was seen of a namespace's quotas and limits, and the arithmetic of quantities.

use std::collections::BTreeMap;

/// Amounts by resource, in billionths: as fine as Kubernetes counts.
pub type Amounts = BTreeMap<String, i128>;

/// Billionths of one.
pub const ONE: i128 = 1_000_000_000;

/// A ResourceQuota that holds for every pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaSeen {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub hard: Amounts,
    /// What is used of it.
    pub used: Amounts,
}

/// What LimitRanges of the namespace give to containers that do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultsSeen {
    /// Requests.
    pub requests: Amounts,
    /// Limits.
    pub limits: Amounts,
}

/// Reads a quantity as Kubernetes writes it; `None` for what is none.
#[must_use]
pub fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|character: char| !matches!(character, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let negative = number.starts_with('-');
    let (whole, part) =
        number.trim_start_matches(['+', '-']).split_once('.').unwrap_or((number.trim_start_matches(['+', '-']), ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let digits = i128::try_from(part.len()).ok()?;
    let value: i128 = format!("{whole}{part}").parse().ok()?;
    let (times, over) = scale(suffix)?;
    let over = over.checked_mul(10_i128.checked_pow(u32::try_from(digits).ok()?)?)?;
    let nano = value.checked_mul(times)?.checked_mul(ONE)?;
    // What is finer than billionths is rounded up, as Kubernetes does.
    let rounded = nano.checked_add(over - 1)? / over;
    Some(if negative { -rounded } else { rounded })
}

/// Returns by what a suffix multiplies and divides.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == suffix);
    if let Some(at) = binary {
        return Some((1024_i128.checked_pow(u32::try_from(at).ok()? + 1)?, 1));
    }
    let large = ["k", "M", "G", "T", "P", "E"].iter().position(|known| *known == suffix);
    if let Some(at) = large {
        return Some((1000_i128.checked_pow(u32::try_from(at).ok()? + 1)?, 1));
    }
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1000)),
        "u" => Some((1, 1_000_000)),
        "n" => Some((1, ONE)),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

/// Writes an amount the way people read it.
#[must_use]
pub fn words(resource: &str, amount: i128) -> String {
    let ceil = |unit: i128| (amount + unit - 1) / unit;
    if resource.ends_with("cpu") && amount % ONE != 0 {
        return format!("{}m", ceil(ONE / 1000));
    }
    let mebi = 1024 * 1024 * ONE;
    if (resource.ends_with("memory") || resource.ends_with("storage")) && amount >= mebi {
        let gibi = mebi * 1024;
        return if amount % gibi == 0 { format!("{}Gi", amount / gibi) } else { format!("{}Mi", ceil(mebi)) };
    }
    ceil(ONE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let table = [
            ("0", 0),
            ("2", 2 * ONE),
            ("100m", ONE / 10),
            ("1.5", ONE * 3 / 2),
            (".5", ONE / 2),
            ("2.", 2 * ONE),
            ("+1", ONE),
            ("-1", -ONE),
            ("1k", 1000 * ONE),
            ("64Mi", 64 * 1024 * 1024 * ONE),
            ("1.5Gi", 1536 * 1024 * 1024 * ONE),
            ("1e3", 1000 * ONE),
            ("5E-1", ONE / 2),
            ("1E", 1_000_000_000_000_000_000 * ONE),
            ("7n", 7),
            ("1.5n", 2),
            ("3u", 3000),
        ];
        for (text, amount) in table {
            assert_eq!(quantity(text), Some(amount), "{text}");
        }
        for text in ["", ".", "Mi", "1MiB", "one", "1 Gi", "1e", "1.2.3", "99999999999999999999999999999999999999999Ei"]
        {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_written_in_units_that_people_use() {
        let table = [
            ("requests.cpu", "1500m", "1500m"),
            ("limits.cpu", "3", "3"),
            ("requests.memory", "192Mi", "192Mi"),
            ("limits.memory", "2048Mi", "2Gi"),
            ("memory", "100", "100"),
            ("pods", "3", "3"),
        ];
        for (resource, text, says) in table {
            assert_eq!(words(resource, quantity(text).unwrap()), says, "{resource} {text}");
        }
    }
}
