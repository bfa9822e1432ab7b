//! Outputs that die with their executor, or are lost in object storage, are made again by the tasks that made them: the
//! statement goes on in its first attempt, and no row is lost or doubled. What was copied in time is not made again.

use futures::TryStreamExt as _;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use selvedge_proto::v1::Run;
use selvedge_tests::block_on;
use selvedge_tests::cli::Output;
use selvedge_tests::cluster::{Cluster, ClusterOptions, eventually};
use selvedge_tests::process::Signal;
use selvedge_tests::tpch;

use crate::stage::{BUCKET, LONG, S3, expected, heavy, same, shuffle, tpch_cluster};

/// Starts a query in many small tasks, does something to the cluster once `tasks` of them are done, and checks the rows.
/// Returns the run as it ended; none when it was over before anything could be done.
fn disturb(
    cluster: &mut Cluster,
    number: u32,
    mode: &str,
    tasks: u32,
    act: impl FnOnce(&mut Cluster, &str),
) -> Option<Run> {
    let query = tpch::query(number).unwrap();
    let sql = format!(
        "SET selvedge.planner.target_partitions = 12; SET selvedge.planner.hash_join_build_bytes = '0';
         SET selvedge.shuffle.durability = '{mode}';\n{}",
        query.sql
    );
    let fleet = cluster.fleet().unwrap();
    let command = cluster.cli().unwrap().start(&["--format", "csv", "sql", "-c", &sql]).unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    let is_middle = fleet.wait_middle(&run, tasks, LONG).unwrap();
    if !is_middle {
        command.finish(LONG).unwrap().succeeded().unwrap();
        return None;
    }
    act(cluster, &run);
    let output: Output = command.finish(LONG).unwrap().succeeded().unwrap();
    same(&output.rows().unwrap(), &expected(&query), query.order, &format!("q{number}, {mode}, after {tasks} tasks"));
    Some(fleet.run(&run).unwrap())
}

fn reruns(run: &Run) -> u32 {
    run.statements.iter().flat_map(|s| &s.stages).map(|stage| stage.tasks_rerun).sum()
}

fn expect_one_attempt(run: &Run, cluster: &Cluster) {
    let attempts: Vec<u32> = run.statements.iter().map(|s| s.attempt).collect();
    assert!(attempts.iter().all(|attempt| *attempt <= 1), "attempts {attempts:?}\n{}", cluster.logs());
}

fn replace(cluster: &mut Cluster) -> usize {
    let position = cluster.add_executor().unwrap();
    cluster.wait_executors(2).unwrap();
    position
}

#[test]
fn outputs_that_died_with_their_executor_are_made_again_within_the_attempt() {
    let _turn = heavy();
    for (mode, location) in [("lazy", shuffle()), ("local", None)] {
        let mut cluster = tpch_cluster(ClusterOptions { shuffle: location, ..Default::default() });
        let (mut victim, mut made_again) = (0, 0);
        // Which outputs a reader still needs when the lease runs out is chance: it goes on until one was.
        for (number, tasks) in [(18, 3), (9, 4), (18, 6), (21, 5), (9, 10)].into_iter().cycle().take(15) {
            let kill = |cluster: &mut Cluster, _: &str| cluster.kill_executor(victim).unwrap();
            let Some(run) = disturb(&mut cluster, number, mode, tasks, kill) else { continue };
            expect_one_attempt(&run, &cluster);
            made_again += reruns(&run);
            victim = replace(&mut cluster);
            if made_again > 0 {
                break;
            }
        }
        assert!(made_again > 0, "{mode}: nothing had to be made again, so nothing was shown");
    }
}

#[test]
fn what_was_copied_before_its_task_succeeded_is_not_made_again() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions { shuffle: shuffle(), ..Default::default() });
    let kill = |cluster: &mut Cluster, _: &str| cluster.kill_executor(0).unwrap();
    let run = disturb(&mut cluster, 9, "eager", 12, kill).expect("it ended too soon");
    expect_one_attempt(&run, &cluster);
    assert_eq!(reruns(&run), 0);
    let puts: u64 = run
        .statements
        .iter()
        .flat_map(|s| &s.stages)
        .filter_map(|s| s.counters.as_ref())
        .map(|c| c.shuffle_put_requests)
        .sum();
    assert!(puts > 0, "requests are counted");
}

/// Does something to each shuffle object of a run.
fn each_object(prefix: &str, run: &str, data_only: bool, mut act: impl FnMut(&ObjectPath)) {
    let client = S3.access().client(BUCKET).unwrap();
    let prefix = ObjectPath::from(prefix);
    let objects: Vec<_> =
        block_on(async { client.list(Some(&prefix)).try_collect::<Vec<_>>().await }).unwrap().unwrap();
    for object in objects.iter().map(|object| &object.location) {
        if object.as_ref().contains(run) && (!data_only || object.as_ref().ends_with("data.arrow")) {
            act(object);
        }
    }
}

#[test]
fn objects_that_are_gone_or_damaged_are_made_again() {
    let _turn = heavy();
    let location = shuffle().unwrap();
    let prefix = location.trim_start_matches(&format!("s3://{BUCKET}/")).to_owned();
    let mut cluster = tpch_cluster(ClusterOptions { shuffle: Some(location), ..Default::default() });
    let client = S3.access().client(BUCKET).unwrap();
    let mut victim = 0;
    for damage in [false, true] {
        let run = disturb(&mut cluster, 9, "eager", 12, |cluster, run| {
            cluster.kill_executor(victim).unwrap();
            each_object(&prefix, run, damage, |object| {
                let done = block_on(async {
                    if !damage {
                        return client.delete(object).await;
                    }
                    let mut bytes = client.get(object).await?.bytes().await?.to_vec();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x55;
                    client.put(object, bytes.into()).await.map(|_| ())
                });
                done.unwrap().unwrap();
            });
        })
        .expect("it ended too soon");
        if !damage {
            expect_one_attempt(&run, &cluster);
            assert!(reruns(&run) > 0, "nothing was missed, so nothing was shown\n{}", cluster.logs());
        }
        victim = replace(&mut cluster);
    }
    eventually(LONG, || {
        let left = S3.keys(BUCKET, &prefix)?;
        if left.is_empty() { Ok(()) } else { Err(selvedge_tests::fail(format!("left behind: {left:?}"))) }
    })
    .unwrap();
}

#[test]
fn a_drain_in_the_middle_of_a_query_makes_nothing_again() {
    let _turn = heavy();
    for mode in ["lazy", "local"] {
        let mut cluster = tpch_cluster(ClusterOptions { shuffle: shuffle(), ..Default::default() });
        let run = disturb(&mut cluster, 9, mode, 8, |cluster, _| {
            cluster.signal(0, Signal::Terminate).unwrap();
            let status = cluster.executor(0).unwrap().process.wait(LONG).unwrap();
            assert_eq!(status.code(), Some(0), "{}", cluster.logs());
        })
        .expect("it ended too soon");
        expect_one_attempt(&run, &cluster);
        let failed: u32 = run.statements.iter().flat_map(|s| &s.stages).map(|stage| stage.tasks_failed).sum();
        assert_eq!((reruns(&run), failed), (0, 0), "{mode}\n{}", cluster.logs());
    }
}
