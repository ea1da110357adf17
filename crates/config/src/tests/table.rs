//! The table of variables against what is read, and the page made from it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;

use super::fixture::{Files, dev, now, production, violations};
use crate::keys::{self, Kind, Preset};
use crate::{Config, Env, MapEnv, render};

/// Remembers which variables were asked for.
struct Recorder {
    env: MapEnv,
    asked: RefCell<BTreeSet<String>>,
}

impl Env for Recorder {
    fn get(&self, name: &str) -> Option<OsString> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.env.get(name)
    }
}

#[test]
fn exactly_the_declared_variables_are_read() {
    let recorder = Recorder {
        env: dev(),
        asked: RefCell::default(),
    };
    Config::load(&recorder, now()).unwrap();
    let files = keys::all()
        .filter(|key| key.is_secret())
        .map(|key| format!("{}_FILE", key.name));
    let declared: BTreeSet<String> = keys::all().map(|key| key.name.to_owned()).chain(files).collect();
    assert_eq!(*recorder.asked.borrow(), declared);
    assert_eq!(
        keys::all().count(),
        keys::all().map(|key| key.name).collect::<BTreeSet<_>>().len(),
        "declared twice"
    );
}

#[test]
fn each_variable_is_read_as_its_kind_says() {
    let files = Files::new();
    for key in keys::all() {
        let name = key.name;
        let expect = match key.kind {
            Kind::Duration | Kind::DurationOrZero => format!("invalid duration for {name}: \"?\""),
            Kind::Boolean => format!("invalid boolean for {name}: \"?\""),
            Kind::Count | Kind::CountOrZero | Kind::Bytes => format!("invalid integer for {name}: \"?\""),
            Kind::Choice(_) if name.starts_with("CARACAL_") => format!("{name} must be "),
            Kind::Choice(_) | Kind::Address | Kind::Port | Kind::SocketAddress | Kind::UnixSocket => {
                format!("invalid value for {name}: \"?\"")
            }
            Kind::Url => format!("{name} must be an absolute URL"),
            Kind::SecretUrl => format!("{name} is malformed"),
            Kind::HmacKey => format!("{name} must be hex-encoded"),
            Kind::File => {
                let env = production(&files).with(name, "/nowhere");
                let all = violations(&env);
                assert!(all.iter().any(|text| text.contains(name)), "{name}: {all:?}");
                continue;
            }
            // Any text is an entry, a path or a secret.
            Kind::List(_) | Kind::Directory | Kind::Secret => continue,
        };
        let all = violations(&production(&files).with(name, "?"));
        assert!(
            all.iter().any(|text| text.starts_with(&expect)),
            "{name}: {all:?}"
        );
    }
}

#[test]
fn zero_is_accepted_exactly_where_the_table_says_so() {
    let files = Files::new();
    for key in keys::all() {
        let accepts = match key.kind {
            Kind::Duration | Kind::Count | Kind::Bytes => false,
            Kind::DurationOrZero | Kind::CountOrZero => true,
            _ => continue,
        };
        assert_eq!(
            violations(&production(&files).with(key.name, "0")).is_empty(),
            accepts,
            "{}",
            key.name
        );
    }
}

#[test]
fn writing_a_default_out_changes_nothing_but_that_the_address_was_asked_for() {
    let files = Files::new();
    let (env, file) = (production(&files), |preset| match preset {
        Preset::Value(value)
        | Preset::PerMode {
            production: value, ..
        } => Some(value),
        Preset::Required | Preset::Unset(_) => None,
    });
    let written = keys::all().fold(env.clone(), |env, key| match file(key.default) {
        Some(value) => env.with(key.name, value),
        None => env,
    });
    let show = |env: &MapEnv, asked_for: bool| {
        let mut loaded = Config::load(env, now()).unwrap();
        assert_eq!(loaded.0.listener.address_is_default, !asked_for);
        loaded.0.listener.address_is_default = true;
        format!("{loaded:?}")
    };
    assert_eq!(show(&written, true), show(&env, false));
}

#[test]
fn every_time_limit_has_tuning_advice() {
    for key in keys::limits::TIME.keys {
        assert!(!key.advice.is_empty(), "{}", key.name);
    }
}

#[test]
fn the_configuration_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == render::configuration_markdown(),
        "docs/configuration.md has drifted; \
         run: cargo run -p caracal-config --example configuration-md > docs/configuration.md"
    );
}

#[test]
fn help_names_every_variable() {
    let help = render::help();
    for key in keys::all() {
        assert!(help.contains(&format!("  {}", key.name)), "{}", key.name);
    }
}
