//! Prometheus text 0.0.4, made from OpenMetrics.
//!
//! The older format names a counter's family with its `_total`, and knows neither units, exemplars nor an end.

/// Rewrites a whole OpenMetrics page.
pub(super) fn prometheus(openmetrics: &str) -> String {
    let mut page = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            let sample = line.split_once(" # ").map_or(line, |(sample, _exemplar)| sample);
            push_line(&mut page, &[sample]);
            continue;
        };
        match comment.split_once(' ') {
            // The help comes before the type, which decides about the name.
            Some(("HELP", rest)) => help = rest.split_once(' ').map_or("", |(_name, help)| help),
            Some(("TYPE", rest)) => {
                let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
                let suffix = if kind == "counter" { "_total" } else { "" };
                push_line(&mut page, &["# HELP ", name, suffix, " ", help]);
                push_line(&mut page, &["# TYPE ", name, suffix, " ", kind]);
            }
            _ => {}
        }
    }
    page
}

fn push_line(page: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| page.push_str(part));
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_rewritten_line_by_line() {
        for (openmetrics, expect) in [
            (
                "# HELP a Some help\n# TYPE a counter\na_total 1\n",
                "# HELP a_total Some help\n# TYPE a_total counter\na_total 1\n",
            ),
            (
                "# HELP b Help\n# TYPE b gauge\n# UNIT b seconds\nb 1.5\n# EOF\n",
                "# HELP b Help\n# TYPE b gauge\nb 1.5\n",
            ),
            (
                "# HELP c Help\n# TYPE c histogram\nc_bucket{le=\"1.0\"} 1 # {trace_id=\"ab\"} 0.5\nc_sum 0.5\n",
                "# HELP c Help\n# TYPE c histogram\nc_bucket{le=\"1.0\"} 1\nc_sum 0.5\n",
            ),
        ] {
            assert_eq!(prometheus(openmetrics), expect);
        }
    }
}
