//! Queries to Prometheus. Whatever is not exactly one number tells nothing.

use std::path::Path;

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::{self, innermost},
    judge::{Sample, Says},
};
use crate::api::{PrometheusCheck, clamp_to};

/// Largest answer that is read: one number takes a few hundred bytes, the labels of its series some more.
const ANSWER_BYTES: usize = 64 << 10;
/// Longest part of what Prometheus says that is shown.
const SHOWN_BYTES: usize = 200;

/// What is asked, prepared.
pub(super) struct Prober<'a> {
    check: &'a PrometheusCheck,
    client: Client,
    url: Url,
}

/// An answer of Prometheus' HTTP API.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

impl<'a> Prober<'a> {
    pub fn new(check: &'a PrometheusCheck, ca: Option<&Path>) -> Result<Self, String> {
        let address = format!("{}/api/v1/query", check.address.trim_end_matches('/'));
        let mut url = Url::parse(&address).map_err(|error| format!("{address}: {error}"))?;
        // Prometheus gives up as well, instead of working for nobody.
        let timeout = format!("{}ms", check.timeout.as_std().as_millis());
        url.query_pairs_mut().append_pair("query", &check.query).append_pair("timeout", &timeout);
        Ok(Self { check, client: client::client(&check.address, ca, None)?, url })
    }

    pub async fn sample(&self) -> Sample {
        match self.ask().await {
            Ok(value) => Sample::number(value, self.check.min.as_ref(), self.check.max.as_ref()),
            Err(why) => Sample::one(Says::Silent, format!("{}: {why}", self.check.address)),
        }
    }

    async fn ask(&self) -> Result<f64, String> {
        let request = self.client.get(self.url.clone()).timeout(self.check.timeout.as_std());
        let answer = request.send().await.map_err(|error| innermost(&error))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(format!("answered {status}; redirects are not followed"));
        }
        let body = client::body(answer, ANSWER_BYTES).await.map_err(|error| innermost(&error))?;
        if body.more {
            return Err(format!("answered {status} with more than {} KiB, no one number", ANSWER_BYTES >> 10));
        }
        number(status, &body.bytes)
    }
}

/// Reads the one number of an answer.
fn number(status: StatusCode, body: &[u8]) -> Result<f64, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| format!("answered {status} with something that is no answer of Prometheus"))?;
    let data = match answer {
        Answer { error: Some(error), .. } => {
            return Err(format!("answered {status}: {}", clamp_to(&error, SHOWN_BYTES)));
        }
        Answer { data: None, .. } => return Err(format!("answered {status} without data")),
        Answer { data: Some(_), .. } if !status.is_success() => return Err(format!("answered {status}")),
        Answer { data: Some(data), error: None } => data,
    };
    let value = match (data.result_type.as_str(), data.result.as_array().map(Vec::as_slice)) {
        ("vector", Some([])) => return Err("the query has no data".to_owned()),
        ("vector", Some([one])) => one.pointer("/value/1"),
        ("vector", Some(many)) => return Err(format!("the query has {} series, not one", many.len())),
        ("scalar", Some(_)) => data.result.get(1),
        (other, _) => return Err(format!("the query's result is a {}, not one number", clamp_to(other, SHOWN_BYTES))),
    };
    let text = value.and_then(Value::as_str).ok_or("the query's one series has no value that is a number")?;
    text.parse().map_err(|_| format!("the query's value is {:?}, no number", clamp_to(text, SHOWN_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_53_whatever_is_not_exactly_one_number_tells_nothing() {
        let vector =
            |result: &str| format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#);
        let of = |kind: &str, result: &str| {
            format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
        };
        let one = r#"{"metric":{},"value":[1,"0.5"]}"#;
        let ok = StatusCode::OK;
        assert_eq!(number(ok, vector(one).as_bytes()), Ok(0.5));
        assert_eq!(number(ok, of("scalar", r#"[1,"-3"]"#).as_bytes()), Ok(-3.0));
        assert!(number(ok, of("scalar", r#"[1,"NaN"]"#).as_bytes()).unwrap().is_nan());
        let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#;
        let table = [
            (ok, vector(""), "has no data"),
            (ok, vector(&format!("{one},{one}")), "has 2 series"),
            (ok, vector(r#"{"metric":{},"histogram":[1,{}]}"#), "no value"),
            (ok, vector(r#"{"metric":{},"value":[1,"many"]}"#), "no number"),
            (ok, vector(r#"{"metric":{},"value":[1,5]}"#), "no value"),
            (ok, of("string", r#"[1,"5"]"#), "is a string"),
            (ok, of("matrix", "[]"), "is a matrix"),
            (StatusCode::BAD_REQUEST, bad.to_owned(), "parse error"),
            (StatusCode::INTERNAL_SERVER_ERROR, vector(one), "500"),
            (ok, "<!doctype html><title>Sign in</title>".to_owned(), "no answer of Prometheus"),
            (ok, "{}".to_owned(), "without data"),
            (ok, String::new(), "no answer of Prometheus"),
        ];
        for (status, body, words) in table {
            let found = number(status, body.as_bytes()).unwrap_err();
            assert!(found.contains(words), "{body}: {found}");
        }
    }
}
