use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::types::MemberId;

/// A member as a test wants it to be.
#[derive(Clone, Default)]
struct Member {
    leaderless: bool,
    learner: bool,
    alarms: Vec<AlarmKind>,
    unreadable: Option<&'static str>,
    cluster_version: Option<&'static str>,
}

impl Facts for Member {
    fn has_leader(&self) -> bool {
        !self.leaderless
    }

    fn is_learner(&self) -> bool {
        self.learner
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.alarms.iter().map(|kind| Alarm { member: MemberId(1), kind: *kind }).collect()
    }

    fn serializable_read(&self) -> Result<(), String> {
        Ok(())
    }

    fn linearizable_read(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async { self.unreadable.map_or(Ok(()), |error| Err(error.to_owned())) })
    }

    fn cluster_version(&self) -> Option<String> {
        self.cluster_version.map(str::to_owned)
    }

    fn refresh(&self, metrics: &Metrics) {
        metrics.server.has_leader.set(i64::from(self.has_leader()));
    }
}

async fn ask(member: &Member, method: &str, path: &str) -> (u16, String) {
    let router = routes(Arc::new(member.clone()), Metrics::new(false));
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    let response = router.oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn story(member: Member, cases: &[(&str, u16, &str)]) {
    for (path, status, body) in cases {
        assert_eq!(ask(&member, "GET", path).await, (*status, (*body).to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_healthy_voter() {
    let member = Member { cluster_version: Some("3.7.0"), ..Member::default() };
    let all =
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
    story(
        member,
        &[
            ("/health", 200, r#"{"health":"true","reason":""}"#),
            ("/livez", 200, "ok\n"),
            ("/readyz", 200, "ok\n"),
            ("/readyz?verbose", 200, all),
            ("/readyz/non_learner", 200, "ok\n"),
            ("/livez?verbose&exclude=serializable_read", 200, "ok\n"),
            (
                "/version",
                200,
                r#"{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0","kvorum":"0.1.0"}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_member_that_has_lost_its_quorum_is_alive_but_not_ready() {
    let member =
        Member { leaderless: true, unreadable: Some("etcdserver: request timed out"), ..Member::default() };
    let failed = "[+]data_corruption ok\n[+]serializable_read ok\n\
                  [-]linearizable_read failed: etcdserver: request timed out\n[+]non_learner ok\n\n";
    story(
        member,
        &[
            ("/health", 503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n"),
            ("/health?serializable=true", 200, r#"{"health":"true","reason":""}"#),
            ("/livez", 200, "ok\n"),
            ("/readyz", 503, failed),
            ("/readyz?exclude=linearizable_read", 200, "ok\n"),
            ("/readyz/serializable_read", 200, "ok\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_leader_that_cannot_read_says_why() {
    let member = Member { unreadable: Some("etcdserver: request timed out"), ..Member::default() };
    let body = "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}\n";
    story(member, &[("/health", 503, body)]).await;
}

#[tokio::test]
async fn alarms_make_unhealthy_unless_they_are_excluded() {
    let member = Member { alarms: vec![AlarmKind::NoSpace], ..Member::default() };
    story(
        member,
        &[
            ("/health", 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"),
            ("/health?exclude=NOSPACE", 200, r#"{"health":"true","reason":""}"#),
            ("/readyz", 200, "ok\n"),
        ],
    )
    .await;
    let member = Member { alarms: vec![AlarmKind::Corrupt], ..Member::default() };
    story(
        member,
        &[("/readyz/data_corruption", 503, "[-]data_corruption failed: alarm activated: CORRUPT\n\n")],
    )
    .await;
}

#[tokio::test]
async fn a_learner_is_not_ready() {
    let member = Member { learner: true, ..Member::default() };
    story(
        member,
        &[
            ("/readyz/non_learner", 503, "[-]non_learner failed: not supported for learner\n\n"),
            (
                "/version",
                200,
                r#"{"etcdserver":"3.7.3","etcdcluster":"not_decided","storage":"unknown","kvorum":"0.1.0"}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn only_get_is_allowed() {
    for path in ["/health", "/livez", "/version", "/readyz/non_learner"] {
        let answer = ask(&Member::default(), "POST", path).await;
        assert_eq!(answer, (405, "Method Not Allowed\n".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn metrics_show_what_the_facts_say_now() {
    let (status, text) = ask(&Member::default(), "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.lines().any(|line| line == "etcd_server_has_leader 1"), "{text}");
}
