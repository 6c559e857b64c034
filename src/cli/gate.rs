//! The plans of a Release that may wait for people, as arguments.

use clap::ValueEnum;

use crate::api::Gate;

/// Which of the plans of a Release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GateArg {
    /// The plan of the release itself
    Release,
    /// The plan of the migration that the version before does not work on
    Contract,
    /// What is lost when the data of a backup come back
    DataLoss,
}

impl From<GateArg> for Gate {
    fn from(gate: GateArg) -> Self {
        match gate {
            GateArg::Release => Self::Release,
            GateArg::Contract => Self::Contract,
            GateArg::DataLoss => Self::DataLoss,
        }
    }
}
