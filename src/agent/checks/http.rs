//! Requests over HTTP: what was answered, how fast, and whether that is what was expected.

use std::time::Duration;

use regex::Regex;
use reqwest::{
    Client, Response,
    header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE},
};

use super::{
    client::{self, innermost},
    judge::{Sample, Says},
    rate::{Rate, Tally},
};
use crate::{
    api::{BodyText, HeaderText, HttpCheck, clamp_to, compile},
    clock::{self, Stopwatch},
    protocol::HttpProbe,
};

/// Longest part of a body that is read.
const BODY_BYTES: usize = 256 << 10;
/// Longest part of a header that is shown.
const SHOWN_BYTES: usize = 120;

/// What is asked, prepared.
pub(super) struct Prober<'a> {
    probe: &'a HttpProbe,
    client: Client,
    send: HeaderMap,
    headers: Vec<(HeaderName, Expected<'a>)>,
    body: Option<Expected<'a>>,
    rate: Option<Rate<'a>>,
}

/// What a text must be like.
enum Expected<'a> {
    Exactly(&'a str),
    Contains(&'a str),
    Matches(Regex),
}

impl Expected<'_> {
    fn is_met(&self, text: &str) -> bool {
        match self {
            Self::Exactly(expected) => text == *expected,
            Self::Contains(expected) => text.contains(expected),
            Self::Matches(pattern) => pattern.is_match(text),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Exactly(expected) => format!("{:?}", clamp_to(expected, SHOWN_BYTES)),
            Self::Contains(expected) => format!("something with {:?}", clamp_to(expected, SHOWN_BYTES)),
            Self::Matches(pattern) => format!("something that matches {:?}", clamp_to(pattern.as_str(), SHOWN_BYTES)),
        }
    }
}

/// A request that was not a success.
struct Failure {
    /// Whether the server said something.
    answered: bool,
    detail: String,
}

impl<'a> Prober<'a> {
    pub fn new(probe: &'a HttpProbe) -> Result<Self, String> {
        let HttpCheck { send, headers, body, rate, .. } = &probe.check;
        let matches = |pattern: &str| compile(pattern).map(Expected::Matches).map_err(|error| error.to_string());
        let name = |name: &str| HeaderName::try_from(name).map_err(|error| format!("{name}: {error}"));
        let mut sent = HeaderMap::new();
        for header in send {
            let value = HeaderValue::from_str(&header.value).map_err(|error| format!("{}: {error}", header.name))?;
            sent.append(name(&header.name)?, value);
        }
        let mut expected = Vec::new();
        for header in headers {
            let says = match &header.says {
                HeaderText::Value(value) => Expected::Exactly(value),
                HeaderText::Matches(pattern) => matches(pattern)?,
            };
            expected.push((name(&header.name)?, says));
        }
        let body = body.as_ref().map(|body| match &body.holds {
            BodyText::Contains(text) => Ok(Expected::Contains(text)),
            BodyText::Matches(pattern) => matches(pattern),
        });
        Ok(Self {
            probe,
            client: client::client(&probe.url, probe.ca.as_deref(), probe.connect.clone())?,
            send: sent,
            headers: expected,
            body: body.transpose()?,
            rate: rate.as_ref().map(Rate::new),
        })
    }

    /// Makes the requests of one time.
    pub async fn sample(&mut self) -> Sample {
        let requests = self.probe.check.requests.unwrap_or(1);
        if self.rate.is_some() { self.count(requests).await } else { self.each(requests).await }
    }

    /// Makes requests, each of which must succeed; ends with the first that does not.
    async fn each(&self, requests: u32) -> Sample {
        let mut took = Vec::new();
        let mut detail = String::new();
        for number in 1..=u64::from(requests) {
            match self.ask().await {
                Ok((time, said)) => {
                    took.push(time);
                    detail = said;
                }
                Err(Failure { answered, detail }) => {
                    let says = if answered { Says::Breach } else { Says::Unanswered };
                    return Sample { says, detail, asked: number, failed: 1 };
                }
            }
        }
        let asked = u64::from(requests);
        match self.too_slow(&mut took) {
            Some(detail) => Sample { says: Says::Breach, detail, asked, failed: 1 },
            None => Sample { says: Says::Within, detail, asked, failed: 0 },
        }
    }

    /// Makes requests and counts them with those of the last minutes.
    async fn count(&mut self, requests: u32) -> Sample {
        let mut tally = Tally::default();
        let mut last = None;
        for _ in 0..requests {
            tally.asked += 1;
            match self.ask().await {
                Ok((time, _)) => tally.took = tally.took.saturating_add(time),
                Err(failure) => {
                    tally.failed += 1;
                    last = Some(failure.detail);
                }
            }
        }
        match &mut self.rate {
            Some(rate) => rate.take(clock::now(), tally, last.as_deref()),
            None => Sample::one(Says::Silent, "nothing counts the requests"),
        }
    }

    /// Says when answers took longer than they may.
    fn too_slow(&self, took: &mut [Duration]) -> Option<String> {
        let limit = self.probe.check.max_latency?;
        took.sort_unstable();
        let percentile = usize::from(self.probe.check.percentile.unwrap_or(100));
        let place = (took.len() * percentile).div_ceil(100);
        let slow = took.get(place.checked_sub(1)?)?;
        (*slow > limit.as_std()).then(|| {
            format!(
                "{percentile} % of {} answers of {} took up to {} ms, expected at most {limit}",
                took.len(),
                self.probe.url,
                slow.as_millis()
            )
        })
    }

    /// Makes one request and reads its answer.
    async fn ask(&self) -> Result<(Duration, String), Failure> {
        let HttpProbe { url, check, .. } = self.probe;
        let broken = |error| Failure { answered: false, detail: format!("{url}: {}", innermost(&error)) };
        let watch = Stopwatch::start();
        let request = self.client.get(url).headers(self.send.clone()).timeout(check.timeout.as_std());
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        let wrong = self.wrong_head(&answer);
        let body = client::body(answer, BODY_BYTES).await.map_err(broken)?;
        let took = watch.elapsed();
        match wrong.or_else(|| self.wrong_body(&body)) {
            Some(detail) => Err(Failure { answered: true, detail: format!("{url} {detail}") }),
            None => Ok((took, format!("{url} answered {status}"))),
        }
    }

    fn wrong_head(&self, answer: &Response) -> Option<String> {
        let (status, expected) = (answer.status(), &self.probe.check.status);
        if !expected.contains(&status.as_u16()) {
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            return Some(format!("answered {status}, expected {}", expected.join(" or ")));
        }
        self.headers.iter().find_map(|(name, expected)| {
            let values: Vec<_> =
                answer.headers().get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            if values.iter().any(|value| expected.is_met(value)) {
                return None;
            }
            let said = match values.first() {
                None => "is missing".to_owned(),
                // Whoever reads this may act with it.
                Some(_) if *name == SET_COOKIE => "says something else".to_owned(),
                Some(value) => format!("says {:?}", clamp_to(value, SHOWN_BYTES)),
            };
            Some(format!("answered {status}, header {name} {said}, expected {}", expected.words()))
        })
    }

    fn wrong_body(&self, body: &client::Body) -> Option<String> {
        let expected = self.body.as_ref()?;
        if expected.is_met(&String::from_utf8_lossy(&body.bytes)) {
            return None;
        }
        let part = if body.more {
            format!("the first {} KiB of its body hold", BODY_BYTES >> 10)
        } else {
            "its body holds".to_owned()
        };
        Some(format!("answered; {part} nothing of what is expected: {}", expected.words()))
    }
}
