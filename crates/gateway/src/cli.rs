//! The command line. `serve` is configured by the environment alone; the other commands are for
//! people.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod evidence;

pub use evidence::{
    DecisionArg, EvidenceCommand, ExplainArgs, ExportArgs, FilterArgs, SourceArgs, TailArgs, VerifyArgs,
};

/// What the process was asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "caracal-gateway",
    version,
    about = "The gateway that every call of an AI agent crosses.",
    after_help = "Try `caracal-gateway demo` first. --help lists the environment of `serve`.",
    after_long_help = config::render::help()
)]
pub struct Cli {
    /// The command; `serve` when there is none.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway, configured by the environment alone (the default command)
    #[command(after_help = "--help lists the environment.", after_long_help = config::render::help())]
    Serve,
    /// Run gateway, STS and upstream on loopback, in memory, with ready-to-paste requests
    Dev(DevArgs),
    /// Send requests through every gate on loopback and compare each outcome with its expectation
    Demo,
    /// Judge the environment as production would, without starting
    #[command(after_help = "Exit status: 0 when nothing fails, 78 otherwise.")]
    Check,
    /// Make the database of a stand-alone installation, or bring it up to date
    #[command(
        after_help = "Reads DATABASE_URL, of a role that may create tables. A database that a Caracal stack owns is left \
                      alone. Exit status: 0, 1 when it is refused, 70 when the database fails, 78."
    )]
    Migrate(MigrateArgs),
    /// The bindings of a stand-alone installation
    #[command(subcommand)]
    Binding(BindingCommand),
    /// Mandates
    #[command(subcommand)]
    Token(TokenCommand),
    /// Audit events: follow, export, verify and explain them
    #[command(subcommand)]
    Evidence(EvidenceCommand),
}

/// Arguments of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// Let this role read what the gateway reads
    #[arg(long, value_name = "ROLE")]
    pub grant_to: Option<String>,
}

/// The commands below `binding`.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Reads DATABASE_URL, of a role that owns the tables, and judges upstreams as ALLOW_PRIVATE_UPSTREAMS and \
                  UPSTREAM_HOST_ALLOWLIST say. Exit status: 0, 1 when it is refused, 70 when the database fails, 78."
)]
pub enum BindingCommand {
    /// Add a binding, or replace the one of its zone and resource
    Add(AddArgs),
    /// List every binding, and whether its upstream may be dialled
    List,
    /// Take a binding away
    Remove(RemoveArgs),
}

/// Arguments of `binding add`.
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// What is bound
    #[command(flatten)]
    pub key: RemoveArgs,
    /// The application under which the exchange is made
    #[arg(long, value_name = "ID")]
    pub application: String,
    /// Where requests go
    #[arg(long, value_name = "URL")]
    pub upstream: String,
}

/// Arguments of `binding remove`.
#[derive(Clone, Debug, Args)]
pub struct RemoveArgs {
    /// The zone
    #[arg(long, value_name = "ZONE")]
    pub zone: String,
    /// The resource identifier
    #[arg(long, value_name = "RESOURCE")]
    pub resource: String,
}

/// Arguments of `dev`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DevArgs {
    /// The gateway's port on 127.0.0.1; 0 takes a free one [default: 8081, or the next free one]
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
}

/// The commands below `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Ask an STS for a mandate and print it, alone, on standard output
    #[command(
        after_help = "The client secret comes from --client-secret-file or from CARACAL_CLIENT_SECRET: \
                            arguments are visible to every process of the machine."
    )]
    Mint(MintArgs),
}

/// Arguments of `token mint`.
#[derive(Clone, Debug, Args)]
pub struct MintArgs {
    /// The STS; plain http only on loopback
    #[arg(long, value_name = "URL")]
    pub sts_url: String,
    /// The application that asks
    #[arg(long, value_name = "ID")]
    pub client_id: String,
    /// A file that holds the application's secret
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// The resource that the mandate is for
    #[arg(long, value_name = "RESOURCE")]
    pub resource: String,
    /// The application's zone, where the STS serves several
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// The mandate's class
    #[arg(long = "use", value_enum, default_value_t = MandateUse::Gateway)]
    pub mandate_use: MandateUse,
    /// Lifetime in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub ttl: u32,
}

/// The class of a mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MandateUse {
    /// For one request through the gateway.
    Gateway,
    /// An application's reusable one.
    Session,
}

impl MandateUse {
    /// As the STS spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Session => "session",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["caracal-gateway"].iter().chain(arguments))
    }

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_serve_and_serve_takes_no_option() {
        assert!(parse(&[]).unwrap().command.is_none());
        assert!(matches!(parse(&["serve"]).unwrap().command, Some(Command::Serve)));
        assert!(parse(&["serve", "--port", "1"]).is_err());
        assert!(parse(&["server"]).is_err());
    }

    #[test]
    fn dev_takes_a_port() {
        for (arguments, expect) in [
            (&["dev"][..], Some(None)),
            (&["dev", "--port", "0"], Some(Some(0))),
            (&["dev", "--port", "65535"], Some(Some(65535))),
            (&["dev", "--port", "65536"], None),
            (&["dev", "--port", "-1"], None),
        ] {
            let port = parse(arguments).ok().map(|cli| match cli.command {
                Some(Command::Dev(DevArgs { port })) => port,
                other => panic!("{other:?}"),
            });
            assert_eq!(port, expect, "{arguments:?}");
        }
    }

    #[test]
    fn mint_asks_for_a_gateway_mandate_of_a_quarter_of_an_hour() {
        let needed = [
            "token",
            "mint",
            "--sts-url",
            "https://sts",
            "--client-id",
            "a",
            "--resource",
            "r",
        ];
        let Some(Command::Token(TokenCommand::Mint(args))) = parse(&needed).unwrap().command else {
            panic!("not a mint")
        };
        assert_eq!(
            (args.mandate_use.name(), args.ttl, args.zone),
            ("gateway", 900, None)
        );
        for missing in [2, 4, 6] {
            let mut fewer = needed.to_vec();
            fewer.drain(missing..missing + 2);
            assert!(parse(&fewer).is_err(), "{fewer:?}");
        }
        let on_the_command_line = [&needed[..], &["--client-secret", "s"]].concat();
        assert!(parse(&on_the_command_line).is_err());
    }

    #[test]
    fn long_help_lists_the_environment_and_short_help_points_to_it() {
        let (short, long) = (Cli::command().render_help(), Cli::command().render_long_help());
        assert!(long.to_string().contains("UPSTREAM_HOST_ALLOWLIST"));
        assert!(!short.to_string().contains("UPSTREAM_HOST_ALLOWLIST"));
        assert!(short.to_string().contains("--help"));
    }
}
