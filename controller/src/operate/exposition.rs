//! Metrics as Prometheus reads them: families of samples, as text.
//!
//! For what is measured when it is asked for: tens of thousands of samples, which would be kept for nothing between scrapes.

use std::fmt::Write as _;

/// A text of families.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// A family of gauges begins.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str) {
        self.family = name;
        // Writing into a text cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    /// A summary begins.
    pub(crate) fn summary(&mut self, name: &'static str, help: &str) {
        self.family = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} summary");
    }

    /// A part of a summary that is no quantile.
    pub(crate) fn part<'a>(
        &mut self,
        suffix: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: f64,
    ) {
        self.line(suffix, labels, value);
    }

    /// A sample of the family, with its labels: names that are good, values of any kind.
    pub(crate) fn sample<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>, value: f64) {
        self.line("", labels, value);
    }

    fn line<'a>(&mut self, suffix: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>, value: f64) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// All of it.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.gauge("a_b", "What it is.");
        out.sample([], 1.0);
        out.sample([("x", "1\"2\\3\n4"), ("y", "")], 0.25);
        assert_eq!(
            out.into_text(),
            "# HELP a_b What it is.\n# TYPE a_b gauge\na_b 1\na_b{x=\"1\\\"2\\\\3\\n4\",y=\"\"} 0.25\n"
        );
    }
}
