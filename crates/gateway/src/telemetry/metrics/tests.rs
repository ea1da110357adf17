//! The metrics as the operator reads them.

mod complete;
mod figures;
mod names;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use admission::Denial;
use admission::denial::Stage;
use config::LaxFlag;

use super::{Metrics, Page, markdown};
use crate::renewal::CertificateFigures;
use crate::telemetry::About;

pub(crate) fn metrics() -> Arc<Metrics> {
    let about = About {
        hostname: "host".to_owned(),
        pid: 1,
        version: "1.2.3",
        mode: "dev",
    };
    Metrics::new(about, vec![LaxFlag::JtiFailOpen])
}

/// Everything that these metrics and the figures show.
pub(crate) fn page_of(metrics: &Metrics) -> Page {
    let mut page = Page::default();
    metrics.write(&mut page);
    figures::write(&mut page);
    page
}

/// The value of one series on a page of either format.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| {
        let value = line.strip_prefix(series)?.strip_prefix(' ')?;
        value.split(' ').next()?.parse().ok()
    })
}

fn page(metrics: &Metrics) -> String {
    page_of(metrics).prometheus()
}

#[test]
fn every_known_name_is_exposed_with_its_type() {
    let page = page(&metrics());
    for (name, kind) in names::EXPOSED {
        assert!(
            page.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} as {kind}"
        );
        if kind != "histogram" {
            assert!(value(&page, name).is_some(), "{name} has no value");
        }
    }
}

#[test]
fn figures_of_other_rooms_arrive_under_their_names() {
    let page = page(&metrics());
    for (series, expect) in names::FIGURES {
        assert_eq!(value(&page, series), Some(expect), "{series}");
    }
}

#[test]
fn what_an_installation_does_not_have_has_no_series() {
    let mut page = Page::default();
    CertificateFigures::default().samples(&mut page);
    assert!(!page.prometheus().contains("certificate_expiry"));
}

#[test]
fn json_has_the_known_keys_in_their_order() {
    let json = String::from_utf8(page_of(&metrics()).json()).unwrap();
    let object = json.strip_suffix("}\n").unwrap().strip_prefix('{').unwrap();
    let members: Vec<(&str, u64)> = object
        .split(',')
        .map(|member| {
            let (key, number) = member.split_once(':').unwrap();
            (key.trim_matches('"'), number.parse().unwrap())
        })
        .collect();
    let keys: Vec<&str> = members.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, names::JSON);
    assert!(members.contains(&("audit_queue_cap", 32)));
    assert!(members.contains(&("bindings_loaded", 51)));
}

#[test]
fn every_refusal_is_counted_under_its_reason_and_its_cause() {
    for denial in Denial::ALL {
        let metrics = metrics();
        metrics.denied(denial);
        let page = page(&metrics);
        for other in Denial::ALL {
            let series = format!("caracal_gateway_denials_total{{reason=\"{}\"}}", other.label());
            assert_eq!(
                value(&page, &series),
                Some(if other == denial { 1.0 } else { 0.0 }),
                "{series}"
            );
        }
        let before_dispatch = denial.row().stage != Stage::Crossing;
        let denied = value(&page, "caracal_gateway_requests_denied_total");
        assert_eq!(denied, Some(f64::from(u8::from(before_dispatch))), "{denial:?}");
        let causes: Vec<&str> = names::CAUSES
            .into_iter()
            .filter(|name| value(&page, name) == Some(1.0))
            .collect();
        assert_eq!(causes, names::causes_of(denial), "{denial:?}");
    }
}

#[test]
fn a_refusal_by_the_sts_is_its_failure_only_with_a_server_error() {
    for (status, expect) in [
        (400, 0.0),
        (403, 0.0),
        (499, 0.0),
        (500, 1.0),
        (503, 1.0),
        (599, 1.0),
    ] {
        let metrics = metrics();
        metrics.denied_by_sts(status);
        let page = page(&metrics);
        assert_eq!(
            value(&page, "caracal_gateway_sts_exchange_errors_total"),
            Some(expect),
            "{status}"
        );
        let refused = "caracal_gateway_denials_total{reason=\"exchange_refused\"}";
        assert_eq!(value(&page, refused), Some(1.0), "{status}");
    }
}

#[test]
fn each_call_moves_the_series_that_it_names() {
    let metrics = metrics();
    metrics.received();
    metrics.received();
    metrics.allowed();
    metrics.upstream_error();
    metrics.denied(Denial::UpstreamTimeout);
    metrics.client_id_ignored();
    metrics.preflight();
    metrics.switched();
    metrics.exchange(Duration::from_micros(12_700));
    metrics.first_byte(Duration::from_millis(20), None);
    metrics.request(Duration::from_millis(30), None);
    let page = page(&metrics);
    for (series, expect) in [
        ("requests_total", 2.0),
        ("requests_allowed_total", 1.0),
        ("requests_denied_total", 0.0),
        ("upstream_errors_total", 2.0),
        ("client_id_headers_ignored_total", 1.0),
        ("cors_preflights_total", 1.0),
        ("upgrades_total", 1.0),
        ("sts_exchange_latency_ms", 12.0),
        ("sts_exchange_seconds_count", 1.0),
        ("sts_exchange_seconds_sum", 0.0127),
        ("sts_exchange_seconds_bucket{le=\"0.01\"}", 0.0),
        ("sts_exchange_seconds_bucket{le=\"0.025\"}", 1.0),
        ("upstream_first_byte_seconds_count", 1.0),
        ("request_seconds_bucket{le=\"+Inf\"}", 1.0),
        ("lax_flag{flag=\"JTI_FAIL_OPEN\"}", 1.0),
        ("lax_flag{flag=\"INSECURE_HTTP\"}", 0.0),
        ("build_info{version=\"1.2.3\",mode=\"dev\"}", 1.0),
    ] {
        assert_eq!(
            value(&page, &format!("caracal_gateway_{series}")),
            Some(expect),
            "{series}"
        );
    }
}

#[test]
fn only_the_stages_of_the_gates_are_measured() {
    let metrics = metrics();
    for (stage, times) in [
        (Stage::Ingress, 1),
        (Stage::Preflight, 2),
        (Stage::Token, 3),
        (Stage::Binding, 4),
        (Stage::Exchange, 5),
        (Stage::Crossing, 6),
    ] {
        (0..times).for_each(|_| metrics.passed(stage, Duration::from_micros(7)));
    }
    let page = page(&metrics);
    for (label, expect) in [
        ("preflight", 2.0),
        ("token", 3.0),
        ("binding", 4.0),
        ("exchange", 5.0),
    ] {
        let series = format!("caracal_gateway_gate_stage_seconds_count{{stage=\"{label}\"}}");
        assert_eq!(value(&page, &series), Some(expect), "{label}");
    }
    assert_eq!(page.matches("gate_stage_seconds_count{").count(), 4);
}

#[test]
fn exemplars_are_traces_and_only_in_openmetrics() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (given, taken) in [
        (trace, true),
        ("4BF92F3577B34DA6A3CE929D0E0E4736", false),
        ("4bf92f3577b34da6a3ce929d0e0e473", false),
        ("\"} 1 # {secret=\"", false),
        ("", false),
    ] {
        let metrics = metrics();
        metrics.request(Duration::from_millis(3), Some(given));
        metrics.first_byte(Duration::from_millis(3), Some(given));
        let openmetrics = page_of(&metrics).openmetrics();
        let exemplar = format!(" 1 # {{trace_id=\"{trace}\"}} 0.003\n");
        assert_eq!(
            openmetrics.matches(&exemplar).count(),
            if taken { 2 } else { 0 },
            "{given:?}"
        );
        assert_eq!(
            openmetrics.matches("trace_id").count(),
            if taken { 2 } else { 0 },
            "{given:?}"
        );
        assert!(openmetrics.ends_with("# EOF\n"));
        let prometheus = page(&metrics);
        for foreign in ["trace_id", "# EOF", "# UNIT"] {
            assert!(!prometheus.contains(foreign), "{foreign}");
        }
    }
}

#[test]
fn every_sample_belongs_to_the_family_declared_before_it() {
    let metrics = metrics();
    let count = page_of(&metrics).sorted().len();
    for (page, total) in [(page(&metrics), ""), (page_of(&metrics).openmetrics(), "_total")] {
        let (mut family, mut kind, mut families) = ("", "", HashSet::new());
        for line in page
            .lines()
            .filter(|line| *line != "# EOF" && !line.starts_with("# HELP "))
        {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                (family, kind) = declared.split_once(' ').unwrap();
                assert!(families.insert(family), "{family} declared twice");
                continue;
            }
            let (name, number) = line.split_once([' ', '{']).unwrap();
            let suffixes: &[&str] = match kind {
                "counter" => &[total],
                "gauge" => &[""],
                _ => &["_bucket", "_sum", "_count"],
            };
            assert!(
                suffixes.iter().any(|suffix| format!("{family}{suffix}") == name),
                "{line}"
            );
            assert!(
                number.rsplit(' ').next().unwrap().parse::<f64>().is_ok(),
                "{line}"
            );
        }
        assert_eq!(families.len(), count);
    }
}

#[test]
fn names_and_meanings_are_fit_for_the_formats() {
    let mut names = HashSet::new();
    for metric in page_of(&metrics()).sorted() {
        assert!(names.insert(metric.name), "{} twice", metric.name);
        assert!(metric.name.starts_with("caracal_"), "{}", metric.name);
        assert!(
            metric
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{}",
            metric.name
        );
        assert_eq!(
            metric.kind().as_str() == "counter",
            metric.name.ends_with("_total"),
            "{}",
            metric.name
        );
        let seconds = metric.name.ends_with("_seconds");
        assert!(
            metric.kind().as_str() != "histogram" || seconds,
            "{} has no unit",
            metric.name
        );
        let unescaped = |c: char| matches!(c, '\n' | '\\' | '|' | '"');
        assert!(
            !metric.help.is_empty() && !metric.help.contains(unescaped),
            "{}",
            metric.name
        );
        assert!(!metric.help.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn the_metrics_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == markdown(),
        "docs/metrics.md has drifted; run: cargo run -p caracal-gateway --example metrics-md > docs/metrics.md"
    );
}
