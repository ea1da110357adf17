//! The table of variables as text.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::checklist::{Status, checklist};
use crate::env::MapEnv;
use crate::keys::{Key, Preset, SECTIONS, Section};

/// `docs/configuration.md`.
#[must_use]
pub fn configuration_markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        page.push('\n');
        page.push_str(&section_markdown(section));
    }
    page.push_str(PRODUCTION);
    for (i, line) in checklist(&MapEnv::new(), SystemTime::UNIX_EPOCH)
        .iter()
        .enumerate()
    {
        let by_hand = match line.status {
            Status::Manual { how } => format!(" (by hand: {how})"),
            Status::Pass | Status::Fail { .. } => String::new(),
        };
        page.push_str(&format!("{}. {}{by_hand}\n", i + 1, line.text));
    }
    page.push_str(NETWORK);
    page
}

const INTRODUCTION: &str = include_str!("render/introduction.md");
const PRODUCTION: &str = include_str!("render/production.md");
const NETWORK: &str = include_str!("render/network.md");

fn section_markdown(section: &Section) -> String {
    let tuned = section.keys.iter().any(|key| !key.advice.is_empty());
    let mut text = format!("## {}\n\n{}\n\n", section.title, section.intro);
    text.push_str("| Variable | Type | Default | Meaning |");
    text.push_str(if tuned {
        " Tuning |\n|---|---|---|---|---|\n"
    } else {
        "\n|---|---|---|---|\n"
    });
    for key in section.keys {
        text.push_str(&row(key, tuned));
    }
    text
}

fn row(key: &Key, tuned: bool) -> String {
    let file = if key.is_secret() {
        format!("<br>`{}_FILE`", key.name)
    } else {
        String::new()
    };
    let (name, kind, default) = (key.name, key.kind.describe(), markdown_default(key.default));
    let tuning = if tuned {
        format!(" {} |", key.advice)
    } else {
        String::new()
    };
    format!(
        "| `{name}`{file} | {kind} | {default} | {} |{tuning}\n",
        key.meaning
    )
}

fn markdown_default(default: Preset) -> String {
    match default {
        Preset::Required => "**required**".to_owned(),
        Preset::Unset(meaning) => format!("unset: {meaning}"),
        Preset::Value(value) => format!("`{value}`"),
        Preset::PerMode { production, dev } => format!("`{production}`; in dev `{dev}`"),
    }
}

/// The variables for `--help`: name, default and meaning, grouped.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "Environment (an empty variable counts as unset; NAME_FILE reads a secret from a file):\n",
    );
    for section in SECTIONS {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n{}:\n", section.title);
        for key in section.keys {
            let file = if key.is_secret() { " or its _FILE" } else { "" };
            let default = match key.default {
                Preset::Required => "required".to_owned(),
                Preset::Unset(meaning) => format!("unset: {meaning}"),
                Preset::Value(value) => value.to_owned(),
                Preset::PerMode { production, dev } => format!("{production}, in dev {dev}"),
            };
            let _ = writeln!(
                text,
                "  {}{file} [{}]\n      {}",
                key.name,
                default.replace('`', ""),
                key.meaning.replace('`', "")
            );
        }
    }
    text
}
