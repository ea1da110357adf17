//! Which of the text formats a scraper prefers (RFC 9110 §12.5.1).

use http::HeaderValue;
use http::header::GetAll;

/// A text format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFormat {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl TextFormat {
    /// OpenMetrics where `Accept` names it with at least the weight of plain text; else Prometheus text.
    pub(super) fn preferred(accept: GetAll<'_, HeaderValue>) -> Self {
        let mut open_metrics = 0;
        let mut plain = 0;
        let ranges = accept
            .into_iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        for range in ranges {
            let mut parts = range.split(';');
            let media_type = parts.next().unwrap_or_default().trim();
            let best = if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
                &mut open_metrics
            } else if media_type.eq_ignore_ascii_case("text/plain") {
                &mut plain
            } else {
                continue;
            };
            *best = weight(parts).max(*best);
        }
        if open_metrics > 0 && open_metrics >= plain {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }
}

/// The parameter `q` in thousandths: all of them when it is missing, none when it is not a weight.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> u16 {
    let given = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let Some((_, value)) = given else { return 1000 };
    match value.trim().parse::<f32>() {
        Ok(q) if (0.0..=1.0).contains(&q) => (q * 1000.0) as u16,
        _ => 0,
    }
}
