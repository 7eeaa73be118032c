//! What a person asks of a live stream, as the query string of its URL. Whatever stands in an argument stays within its
//! parameter.

use std::str::FromStr;

use telemetry_hub_actors::Key;

/// The parameters that say where a stream begins, in canonical form.
const STARTS: [&str; 3] = ["replay", "since", "last-event-id"];

/// An argument: `key=value`, or the text of a `filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Parameter {
    name: String,
    value: String,
}

/// Why an argument is none.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ParameterError {
    #[error("empty; write key=value, or a text")]
    Empty,
    #[error("a key is missing before `=`")]
    NoKey,
    #[error(
        "others can see it here: put it into TELEMETRY_HUB_TOKEN or a file (--token-file). For a key of this name, data.token="
    )]
    Token,
}

impl FromStr for Parameter {
    type Err = ParameterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ParameterError::Empty);
        }
        let (name, value) = text.split_once('=').unwrap_or(("filter", text));
        match Key::new(name) {
            _ if name.is_empty() => Err(ParameterError::NoKey),
            Some(key) if key.as_str() == "token" => Err(ParameterError::Token),
            _ => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
        }
    }
}

impl Parameter {
    fn is_start(&self) -> bool {
        Key::new(&self.name).is_some_and(|key| STARTS.contains(&key.as_str()))
    }
}

/// All parameters.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Query(Vec<Parameter>);

impl From<Vec<Parameter>> for Query {
    fn from(parameters: Vec<Parameter>) -> Self {
        Self(parameters)
    }
}

impl Query {
    /// Adds a parameter, if there is a value.
    pub(in crate::cli) fn add(&mut self, name: &str, value: Option<impl ToString>) {
        let parameter = |value: String| Parameter { name: name.to_owned(), value };
        self.0.extend(value.map(|value| parameter(value.to_string())));
    }

    /// Whether it begins with what has been.
    pub(super) fn has_start(&self) -> bool {
        self.0.iter().any(Parameter::is_start)
    }

    /// The same events, from wherever a stream begins by itself.
    pub(super) fn without_start(&self) -> Self {
        Self(self.0.iter().filter(|parameter| !parameter.is_start()).cloned().collect())
    }

    /// As it stands in a URL.
    pub(super) fn encoded(&self) -> String {
        let pairs = self.0.iter().map(|parameter| (&parameter.name, &parameter.value));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: &str) {
        let parameters = arguments.iter().map(|argument| argument.parse().unwrap());
        assert_eq!(Query(parameters.collect()).encoded(), expected);
    }

    #[test]
    fn arguments_stay_within_their_parameters() {
        check(&["level=warn", "remote-ip=10.0.0.0/8"], "level=warn&remote-ip=10.0.0.0%2F8");
        check(&["some text"], "filter=some+text");
        check(&["where=a >= 1 && b == \"=\""], "where=a+%3E%3D+1+%26%26+b+%3D%3D+%22%3D%22");
        check(&["a&follow=none#x"], "a%26follow=none%23x");
        check(&["x=a&level=trace", "y%26=+", "key="], "x=a%26level%3Dtrace&y%2526=%2B&key=");
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for (argument, reason) in
            [("", "empty"), ("=x", "a key is missing"), ("Token=s3cret", "others can see it")]
        {
            let error = argument.parse::<Parameter>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn starts_are_told_from_the_rest() {
        let parameters = ["Since=5m", "a=1", "replay=3", "lastEventId=x", "data.since=1"];
        let query = Query(parameters.map(|parameter| parameter.parse().unwrap()).to_vec());
        assert!(query.has_start() && !query.without_start().has_start());
        assert_eq!(query.without_start().encoded(), "a=1&data.since=1");
    }
}
