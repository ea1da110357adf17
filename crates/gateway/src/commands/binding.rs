//! `binding add|list|remove`: the bindings of a stand-alone installation.
//!
//! An upstream is judged before it is stored, by the guard that judges it again before each request. What only the running
//! gateway knows, such as the address of its listener, is judged there alone.

use std::fmt::Write as _;
use std::sync::Arc;

use admission::binding::{Application, Binding, BoundUrl, UpstreamUrl, judge};
use admission::limits::EgressPolicy;
use admission::ports::Cause;
use backends::dns::DnsResolver;
use backends::postgres::PostgresConnector;
use backends::stand_alone;

use super::migrate::{open, refused, said};
use super::shared::{UNEXPECTED, complain};
use crate::cli::{AddArgs, BindingCommand, RemoveArgs};
use crate::clock::SystemClock;

pub(super) async fn run(command: BindingCommand) -> i32 {
    let (settings, database) = match open() {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let guard = Guard {
        policy: settings.egress.policy([]),
        resolver: DnsResolver::system(Arc::new(SystemClock)),
    };
    match command {
        BindingCommand::Add(arguments) => add(&database, &guard, arguments).await,
        BindingCommand::List => list(&database, &guard).await,
        BindingCommand::Remove(arguments) => remove(&database, &arguments).await,
    }
}

/// The egress guard.
struct Guard {
    policy: EgressPolicy,
    resolver: DnsResolver,
}

impl Guard {
    async fn judge(&self, url: &BoundUrl) -> Result<(), Cause> {
        judge(url.parsed()?, &self.policy, &self.resolver).await?;
        Ok(())
    }
}

async fn add(database: &PostgresConnector, guard: &Guard, arguments: AddArgs) -> i32 {
    let AddArgs {
        key: RemoveArgs { zone, resource },
        application,
        upstream,
    } = arguments;
    let binding = Binding {
        zone_id: zone,
        resource,
        application: Application::Bound(application),
        upstream_url: upstream.as_str().into(),
    };
    if let Err(cause) = guard.judge(&binding.upstream_url).await {
        complain(format_args!("binding add: the upstream is refused: {cause}"));
        return UNEXPECTED;
    }
    match stand_alone::add(database, &binding).await {
        Ok(()) => said(&format!("{} of {} is bound\n", binding.resource, binding.zone_id)),
        Err(error) => refused("binding add", &error),
    }
}

async fn remove(database: &PostgresConnector, arguments: &RemoveArgs) -> i32 {
    let RemoveArgs { zone, resource } = arguments;
    match stand_alone::remove(database, zone, resource).await {
        Ok(true) => said(&format!("{resource} of {zone} is bound no longer\n")),
        Ok(false) => {
            complain(format_args!(
                "binding remove: {resource} of {zone} is not bound; see `binding list`"
            ));
            UNEXPECTED
        }
        Err(error) => refused("binding remove", &error),
    }
}

/// One line each: zone, resource, application, upstream and verdict, separated by tabs.
async fn list(database: &PostgresConnector, guard: &Guard) -> i32 {
    let bindings = match stand_alone::list(database).await {
        Ok(bindings) => bindings,
        Err(error) => return refused("binding list", &error),
    };
    let mut text = "ZONE\tRESOURCE\tAPPLICATION\tUPSTREAM\tVERDICT\n".to_owned();
    for binding in &bindings {
        let application = match &binding.application {
            Application::Bound(id) => id.as_str(),
            Application::FromToken => "",
        };
        let upstream = binding
            .upstream_url
            .parsed()
            .map_or_else(|_| "-".to_owned(), |url| shown(url));
        let verdict = match guard.judge(&binding.upstream_url).await {
            Ok(()) => "permitted".to_owned(),
            Err(cause) => format!("refused: {cause}"),
        };
        let line = [
            &binding.zone_id,
            &binding.resource,
            application,
            &upstream,
            &verdict,
        ];
        // What stands in the database cannot make a line or a column of its own.
        let line = line.map(|column| column.replace(char::is_control, " "));
        // Writing to a text does not fail.
        let _ = writeln!(text, "{}", line.join("\t"));
    }
    said(&text)
}

/// An upstream for people: its query may hold a key.
fn shown(url: &UpstreamUrl) -> String {
    let (scheme, authority, path) = (url.origin().scheme.as_str(), url.authority(), url.path());
    let query = url.query().map_or("", |_| "?…");
    format!("{scheme}://{authority}{path}{query}")
}
