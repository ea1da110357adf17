//! The arguments of `evidence`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use evidence::{Decision, PublicKey};

/// The commands below `evidence`.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Events come from the audit stream (REDIS_URL), unless --spool or --file names another source. A spool is \
                  only read, beside a running gateway too; it holds what is not shipped yet.\n\
                  Exit status: 0, 1 when evidence is missing or wrong, 69 when the source cannot be read, 78."
)]
pub enum EvidenceCommand {
    /// Follow the audit stream from now on, one line for each event
    Tail(TailArgs),
    /// Write events as JSON Lines: `id`, `data` (the exact bytes, as a string) and `sig`
    Export(ExportArgs),
    /// Judge signatures (AUDIT_HMAC_KEY), chains and checkpoints, and name everything that is missing or wrong; of a spool its
    /// records, which nobody has signed yet
    Verify(VerifyArgs),
    /// Say what a request asked for, which gate decided, what made it so, and what to change
    Explain(ExplainArgs),
    /// Print the public key of AUDIT_CHECKPOINT_KEY, for `verify --checkpoint-key`
    Key,
}

/// Where events come from.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub struct SourceArgs {
    /// A spool: the directory that AUDIT_REPLAY_DIR names, or one process's below it
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// An export; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Which events are shown.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Of this zone alone
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Of this resource identifier alone
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<String>,
    /// With this decision alone
    #[arg(long, value_enum)]
    pub decision: Option<DecisionArg>,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DecisionArg {
    /// The request was let through.
    Allow,
    /// The request was refused.
    Deny,
}

impl DecisionArg {
    /// The value in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => Decision::Allow.as_str(),
            Self::Deny => Decision::Deny.as_str(),
        }
    }
}

/// Arguments of `evidence tail`.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// Which events are shown
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Go on behind this entry of the stream instead of at its end; `0-0` begins at the front
    #[arg(long, value_name = "ENTRY", value_parser = entry)]
    pub after: Option<String>,
    /// Write the lines of an export
    #[arg(long)]
    pub json: bool,
}

/// The id of an entry of a stream: `1790000000000-0`, or its milliseconds alone.
fn entry(text: &str) -> Result<String, &'static str> {
    let (milliseconds, number) = text.split_once('-').unwrap_or((text, "0"));
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    match is_number(milliseconds) && is_number(number) {
        true => Ok(text.to_owned()),
        false => Err("the id of an entry of a Redis stream, such as 1790000000000-0, is needed"),
    }
}

/// Arguments of `evidence export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Where events come from
    #[command(flatten)]
    pub source: SourceArgs,
    /// Which events are exported
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Arguments of `evidence verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Where events come from
    #[command(flatten)]
    pub source: SourceArgs,
    /// A public key of checkpoints that counts, as the gateway's log and `evidence key` show it; repeatable. Without one a chain's own word
    /// for its key is taken
    #[arg(long = "checkpoint-key", value_name = "HEX", conflicts_with = "spool")]
    pub keys: Vec<PublicKey>,
    /// Fail where a chain has had no checkpoint for so long, and an unproved event from before; one is due each minute
    #[arg(long, value_name = "SECONDS", conflicts_with = "spool")]
    pub max_unproved: Option<u32>,
    /// The checkpoints that the anchor (AUDIT_ANCHOR_URL) got, one a line as they were posted: each must be there
    #[arg(long, value_name = "FILE", conflicts_with = "spool")]
    pub anchors: Option<PathBuf>,
    /// Pass events that are in no chain, such as those of builds that made none
    #[arg(long, conflicts_with = "spool")]
    pub allow_unchained: bool,
    /// Pass a source in which there is nothing at all
    #[arg(long)]
    pub allow_empty: bool,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `evidence explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The request id that the caller saw (`X-Request-Id`, `requestId`), or an event's id
    #[arg(value_name = "REQUEST-ID")]
    pub request_id: String,
    /// Where events come from
    #[command(flatten)]
    pub source: SourceArgs,
    /// Write one JSON object for each event
    #[arg(long)]
    pub json: bool,
}
