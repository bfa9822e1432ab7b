//! What Ballista is told of executors that are not, or no longer, there.

use std::sync::Arc;

use ballista_core::serde::protobuf::TaskDefinition;
use ballista_scheduler::cluster::ClusterState;
use selvedge_model::liveness::Release;
use selvedge_model::{ExecutorId, TaskRef};
use selvedge_proto::internal::v1::{ExecutorInfo, ExecutorLoad};

use super::super::cluster::VirtualCluster;
use super::super::fleet::Roster;

#[tokio::test]
async fn no_executor_is_unknown_and_only_a_living_one_has_an_address() {
    let roster = Arc::new(Roster::new());
    let cluster = VirtualCluster::new(roster.clone());
    let id: ExecutorId = "e1".parse().unwrap();
    let info = ExecutorInfo { host: "10.0.0.9".into(), port: 7, ..ExecutorInfo::default() };
    roster.seen(&id, info, ExecutorLoad::default(), (&[], &[]));
    let address = async |id: &str| {
        let metadata = cluster.get_executor_metadata(id).await.unwrap();
        assert_eq!(metadata.id, id);
        (metadata.host, metadata.port)
    };
    assert_eq!(address("s3!e1!job-s1-a1!2!0!7").await, ("10.0.0.9".to_owned(), 7));
    roster.leave(&id);
    assert_eq!(address("s3!e1!job-s1-a1!2!0!7").await, (String::new(), 0));
    assert_eq!(address("e1").await, (String::new(), 0));
}

#[tokio::test]
async fn a_lease_does_not_run_out_while_its_poll_is_being_answered() {
    let roster = Arc::new(Roster::new());
    let id: ExecutorId = "e1".parse().unwrap();
    roster.seen(&id, ExecutorInfo::default(), ExecutorLoad::default(), (&[], &[]));
    let stepping = roster.stepping(&id);
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert!(roster.expire(10).is_empty());
    drop(stepping);
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert_eq!(roster.expire(10), [id]);
}

#[tokio::test]
async fn a_job_is_free_when_no_executor_holds_its_tasks() {
    let roster = Arc::new(Roster::new());
    let id: ExecutorId = "e1".parse().unwrap();
    let task = TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id: 0 };
    let says = |held: &[TaskRef]| {
        roster.seen(&id, ExecutorInfo::default(), ExecutorLoad::default(), (held, &[]));
    };
    let ended = std::time::Instant::now();
    assert_eq!(roster.release("j", ended, 0), Release::Free, "there is nobody");
    says(std::slice::from_ref(&task));
    assert_eq!((roster.release("j", ended, 0), roster.release("i", ended, 0)), (Release::Held, Release::Free));
    says(&[]);
    assert_eq!((roster.release("j", ended, 0), roster.release("j", ended, 60_000)), (Release::Free, Release::Held));
    // Given, but not yet heard of.
    let given = TaskDefinition { job_id: "j".into(), ..TaskDefinition::default() };
    roster.gives(&id, &[given]);
    assert_eq!(roster.release("j", ended, 0), Release::Held);
    says(std::slice::from_ref(&task));
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    roster.expire(10);
    assert_eq!(roster.release("j", ended, 0), Release::Adrift);
    says(&[]);
    assert_eq!(roster.release("j", ended, 0), Release::Free, "it came back without the task");
}
