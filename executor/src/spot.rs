//! Watches for the news that this machine is taken away: AWS tells a spot instance two minutes before, through the instance
//! metadata service, and an instance of an Auto Scaling group when the group ends it. Then the executor drains, in no more time
//! than is left.
//!
//! On a machine without that service it is asked once a minute, and nothing is said. The time to drain:
//! `selvedge_model::notice`; the drain: `poll/drain.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::{Client, StatusCode};
use selvedge_model::notice::drain_time;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::config::SpotNotice;
use crate::error::ExecutorError;
use crate::poll::Grace;

const SERVICE: &str = "http://169.254.169.254";
/// As AWS' own tools read them.
const SERVICE_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const DISABLED_VARIABLE: &str = "AWS_EC2_METADATA_DISABLED";

const TOKEN: &str = "/latest/api/token";
const TOKEN_LIFE: &str = "21600";
const SPOT_ACTION: &str = "/latest/meta-data/spot/instance-action";
const LIFECYCLE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";

/// Often enough to lose little of two minutes.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_WITHOUT_SERVICE: Duration = Duration::from_secs(60);
/// The service is on the machine itself: it answers at once, or is not there.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// That the machine goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Notice {
    /// What is going to happen to it, as the service says.
    what: String,
    /// In how long, if that is said.
    left: Option<Duration>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    #[error("{path} answers {status}")]
    Status { path: &'static str, status: StatusCode },
}

/// What the service says of a spot instance about to be taken back.
#[derive(Debug, Deserialize)]
struct InstanceAction {
    action: String,
    time: String,
}

/// Asks the metadata service.
pub(crate) struct SpotWatch {
    client: Client,
    service: String,
    /// That it does not answer is worth a word.
    is_expected: bool,
    token: Option<String>,
}

impl SpotWatch {
    /// A watch as configured; `None` when nobody wants one.
    pub(crate) fn new(wanted: SpotNotice) -> Result<Option<Self>, ExecutorError> {
        let disabled = std::env::var(DISABLED_VARIABLE).is_ok_and(|value| value.trim().eq_ignore_ascii_case("true"));
        if wanted == SpotNotice::Off || disabled {
            return Ok(None);
        }
        let given = std::env::var(SERVICE_VARIABLE).ok().filter(|url| !url.trim().is_empty());
        Self::at(given.as_deref().unwrap_or(SERVICE), wanted == SpotNotice::On).map(Some)
    }

    fn at(service: &str, is_expected: bool) -> Result<Self, ExecutorError> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(REQUEST_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|e| ExecutorError::Setup { what: "the watch for spot notices", cause: e.to_string() })?;
        Ok(Self { client, service: service.trim().trim_end_matches('/').to_owned(), is_expected, token: None })
    }

    /// Waits for a notice, then shortens `grace` and cancels `drain`.
    pub(crate) async fn run(mut self, grace: Arc<Grace>, drain: CancellationToken) {
        let notice = self.notice(EVERY, EVERY_WITHOUT_SERVICE).await;
        let time = drain_time(grace.usual(), notice.left);
        tracing::warn!(what = notice.what, left = ?notice.left, grace = ?time, "this machine is taken away: draining");
        grace.cut_to(time);
        drain.cancel();
    }

    async fn notice(&mut self, every: Duration, every_without_service: Duration) -> Notice {
        let mut is_silent = false;
        loop {
            let pause = match self.look().await {
                Ok(Some(notice)) => return notice,
                Ok(None) => {
                    is_silent = false;
                    every
                }
                Err(cause) => {
                    // The next look begins with a new one.
                    self.token = None;
                    if self.is_expected && !is_silent {
                        tracing::warn!(%cause, service = self.service, "the instance metadata service does not answer");
                    }
                    is_silent = true;
                    if self.is_expected { every } else { every_without_service }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&mut self) -> Result<Option<Notice>, LookError> {
        if let Some(text) = self.get(SPOT_ACTION).await? {
            return Ok(Some(spot_notice(&text, SystemTime::now())));
        }
        let state = self.get(LIFECYCLE).await?;
        Ok(state
            .filter(|state| state.trim() == "Terminated")
            .map(|_| Notice { what: "its Auto Scaling group ends it".to_owned(), left: None }))
    }

    /// What stands at a path, if anything does.
    async fn get(&mut self, path: &'static str) -> Result<Option<String>, LookError> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.new_token().await?,
        };
        let request = self.client.get(format!("{}{path}", self.service)).header("X-aws-ec2-metadata-token", token);
        let answer = request.send().await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => Ok(Some(answer.text().await?)),
            status => Err(LookError::Status { path, status }),
        }
    }

    async fn new_token(&mut self) -> Result<String, LookError> {
        let request = self.client.put(format!("{}{TOKEN}", self.service));
        let answer = request.header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_LIFE).send().await?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(LookError::Status { path: TOKEN, status });
        }
        let token = answer.text().await?;
        self.token = Some(token.clone());
        Ok(token)
    }
}

/// A notice counts whatever its form: that there is one is what matters.
fn spot_notice(text: &str, now: SystemTime) -> Notice {
    let said: Option<InstanceAction> = serde_json::from_str(text).ok();
    let at = said.as_ref().and_then(|said| humantime::parse_rfc3339(said.time.trim()).ok());
    Notice {
        what: said.map_or_else(|| "a spot notice".to_owned(), |said| format!("spot instance: {}", said.action)),
        left: at.map(|at| at.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::State;
    use axum::http::HeaderMap;
    use axum::routing::{get, put};
    use parking_lot::Mutex;

    use super::*;

    /// What the stub answers; `None` is 404.
    #[derive(Default)]
    struct Said {
        action: Option<String>,
        lifecycle: Option<String>,
        tokens: u32,
        /// Requests to refuse with 401.
        refuse: u32,
        looks: u32,
    }

    type Stub = Arc<Mutex<Said>>;

    fn answer(stub: &Stub, headers: &HeaderMap, text: impl Fn(&Said) -> Option<String>) -> (StatusCode, String) {
        let mut said = stub.lock();
        said.looks += 1;
        let token = format!("token-{}", said.tokens);
        if said.refuse > 0 || headers.get("X-aws-ec2-metadata-token").is_none_or(|given| given != token.as_str()) {
            said.refuse = said.refuse.saturating_sub(1);
            return (StatusCode::UNAUTHORIZED, String::new());
        }
        text(&said).map_or((StatusCode::NOT_FOUND, String::new()), |text| (StatusCode::OK, text))
    }

    async fn new_token(State(stub): State<Stub>, headers: HeaderMap) -> (StatusCode, String) {
        if headers.get("X-aws-ec2-metadata-token-ttl-seconds").is_none() {
            return (StatusCode::BAD_REQUEST, String::new());
        }
        let mut said = stub.lock();
        said.tokens += 1;
        (StatusCode::OK, format!("token-{}", said.tokens))
    }

    async fn action(State(stub): State<Stub>, headers: HeaderMap) -> (StatusCode, String) {
        answer(&stub, &headers, |said| said.action.clone())
    }

    async fn lifecycle(State(stub): State<Stub>, headers: HeaderMap) -> (StatusCode, String) {
        answer(&stub, &headers, |said| said.lifecycle.clone())
    }

    async fn serve(said: Said) -> (Stub, SpotWatch) {
        let stub = Arc::new(Mutex::new(said));
        let app = Router::new()
            .route(TOKEN, put(new_token))
            .route(SPOT_ACTION, get(action))
            .route(LIFECYCLE, get(lifecycle))
            .with_state(stub.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (stub, SpotWatch::at(&url, false).unwrap())
    }

    const SOON: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn nothing_is_noticed_until_the_service_says_so_and_a_token_that_expired_is_replaced() {
        let (stub, mut watch) = serve(Said { lifecycle: Some("InService".into()), ..Said::default() }).await;
        assert_eq!(watch.look().await.unwrap(), None);
        {
            let mut said = stub.lock();
            assert_eq!((said.tokens, said.looks), (1, 2), "one token for both questions");
            said.refuse = 1;
        }
        let waiting = tokio::spawn(async move { watch.notice(SOON, SOON).await });
        tokio::time::sleep(SOON * 20).await;
        assert!(!waiting.is_finished() && stub.lock().tokens == 2);
        stub.lock().lifecycle = Some("Terminated".into());
        let notice = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
        assert_eq!(notice.left, None, "the group says nothing of time");
    }

    #[tokio::test]
    async fn a_notice_drains_in_the_time_that_is_left() {
        let at = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(60)).to_string();
        let text = format!(r#"{{"action": "terminate", "time": "{at}"}}"#);
        let (_stub, watch) = serve(Said { action: Some(text), ..Said::default() }).await;
        let (grace, drain) = (Arc::new(Grace::new(Duration::from_secs(90))), CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(20), watch.run(grace.clone(), drain.clone())).await.unwrap();
        assert!(drain.is_cancelled());
        let now = std::time::Instant::now();
        let left = grace.until(now).duration_since(now);
        assert!((40..=45).contains(&left.as_secs()), "{left:?}");
    }

    #[tokio::test]
    async fn a_machine_without_the_service_is_left_alone() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut watch = SpotWatch::at(&format!("http://127.0.0.1:{port}"), false).unwrap();
        assert!(watch.look().await.is_err());
    }

    #[test]
    fn a_notice_is_one_whatever_its_form() {
        let now = humantime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        for (text, left) in [
            (r#"{"action":"terminate","time":"2026-01-01T00:02:00Z"}"#, Some(120)),
            (r#"{"action":"stop","time":"2025-12-31T23:59:00Z"}"#, Some(0)),
            (r#"{"action":"hibernate","time":"soon"}"#, None),
            ("now!", None),
        ] {
            assert_eq!(spot_notice(text, now).left.map(|left| left.as_secs()), left, "{text}");
        }
    }
}
