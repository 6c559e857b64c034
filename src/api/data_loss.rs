//! What is lost when the data of a backup takes the place of what is there now.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tables that words name.
const NAMED: usize = 3;
/// Tables that a loss names: as the schema has it.
const TOLD: usize = 8;

/// What would be lost, as it was counted at one moment. What is written after that is lost as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataLoss {
    /// When it was counted.
    pub at: MicroTime,
    /// Seconds from the backup to then.
    pub seconds: i64,
    /// Rows that were written since, at most: what the migration wrote is among them, and what a transaction wrote that
    /// had begun before the backup.
    pub rows: i64,
    /// The tables that differ, those that would lose most first; not all when there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tables: Vec<TableLoss>,
    /// How many more tables differ.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A table that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableLoss {
    /// Its name with the schema's; `large objects` for these.
    #[schemars(length(max = 127))]
    pub table: String,
    /// Its rows in the backup; absent: it is not in it, and would go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<i64>,
    /// Its rows now; absent: it is gone, and would come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<i64>,
    /// Rows written since, at most; absent: only the numbers of rows are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<i64>,
}

impl TableLoss {
    /// Returns how many rows would be lost, at most.
    #[must_use]
    pub fn rows(&self) -> i64 {
        let is = self.is.unwrap_or(0);
        let more = is.saturating_sub(self.was.unwrap_or(0)).max(0);
        self.written.unwrap_or(more).max(more)
    }

    fn words(&self) -> String {
        let name = &self.table;
        match (self.was, self.is, self.written) {
            (Some(was), None, _) => format!("{name} is gone and comes back with {was} rows"),
            (None, is, _) => format!("{name} is new and goes with {} rows", is.unwrap_or(0)),
            (Some(was), Some(is), None) => format!("{name} had {was} rows, has {is}"),
            (Some(was), Some(is), Some(written)) => {
                format!("{name} had {was} rows, has {is}, {written} of them written since")
            }
        }
    }
}

impl DataLoss {
    /// Returns what is lost by tables as they were counted, those that are as they were among them; `taken` is when the
    /// backup was.
    #[must_use]
    pub fn of(mut tables: Vec<TableLoss>, (taken, at): (Timestamp, Timestamp)) -> Self {
        tables.retain(|table| table.was != table.is || table.written.is_some_and(|written| written > 0));
        tables.sort_by_key(|table| std::cmp::Reverse(table.rows()));
        let rows = tables.iter().map(TableLoss::rows).fold(0, i64::saturating_add);
        let more = i64::try_from(tables.len().saturating_sub(TOLD)).unwrap_or(i64::MAX);
        tables.truncate(TOLD);
        Self { at: MicroTime(at), seconds: at.duration_since(taken).as_secs(), rows, tables, more }
    }

    /// Says it in words, as the end of a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let (rows, seconds) = (self.rows, self.seconds);
        if self.tables.is_empty() {
            return format!("no row differs, {seconds} s after the backup");
        }
        let mut named: Vec<String> = self.tables.iter().take(NAMED).map(TableLoss::words).collect();
        let rest = i64::try_from(self.tables.len().saturating_sub(NAMED)).unwrap_or(0).saturating_add(self.more);
        if rest > 0 {
            named.push(format!("{rest} more tables differ"));
        }
        format!("up to {rows} rows of the {seconds} s since the backup ({})", named.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(was: Option<i64>, is: Option<i64>, written: Option<i64>) -> TableLoss {
        TableLoss { table: "public.t".into(), was, is, written }
    }

    #[test]
    fn what_is_as_it_was_is_no_loss_and_the_largest_is_told_first() {
        let all = vec![
            table(Some(5), Some(5), Some(0)),
            table(Some(5), Some(5), Some(2)),
            table(Some(1), Some(9), None),
            table(Some(1), None, None),
        ];
        let taken = Timestamp::UNIX_EPOCH;
        let loss = DataLoss::of(all, (taken, taken + jiff::SignedDuration::from_secs(7)));
        assert_eq!((loss.rows, loss.seconds, loss.more), (10, 7, 0));
        assert_eq!(loss.tables.iter().map(TableLoss::rows).collect::<Vec<_>>(), [8, 2, 0]);
        let many = DataLoss::of(vec![table(None, Some(1), None); 11], (taken, taken));
        assert_eq!((many.rows, many.tables.len(), many.more), (11, 8, 3));
    }

    #[test]
    fn rows_that_would_be_lost_are_never_told_as_fewer() {
        assert_eq!(table(Some(5), Some(8), None).rows(), 3);
        assert_eq!(table(Some(5), Some(8), Some(4)).rows(), 4);
        assert_eq!(table(Some(5), Some(8), Some(0)).rows(), 3);
        assert_eq!(table(Some(8), Some(5), Some(2)).rows(), 2);
        assert_eq!(table(None, Some(8), Some(8)).rows(), 8);
        assert_eq!(table(Some(8), None, None).rows(), 0);
    }
}
