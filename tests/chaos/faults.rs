//! One in a hundred requests to object storage goes wrong, in every way there is, and TPC-H and the writes are right all the
//! same.

use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::microburst::{Fault, Microburst};
use selvedge_tests::oracle::Oracle;
use selvedge_tests::tpch;

use super::stage::{LAKE, SHUFFLE, SOURCE, SOURCE_URL, asked_scale};
use crate::stage::{S3, heavy, unique};

const SHARE: f64 = 0.01;
const SETTINGS: &str = "SET selvedge.planner.target_partitions = 8;\n";
/// The price of each shipped line by order and month: joined, aggregated, and written to both formats.
const LINES: &str = "\
SELECT l_orderkey, l_linenumber, l_extendedprice, o_totalprice, l_shipmode FROM lineitem JOIN orders ON l_orderkey = o_orderkey";

/// Corruption is told where there are checksums: in the shuffle. Everything else may happen anywhere.
fn bucket(fault: Fault) -> &'static str {
    if fault == Fault::Corrupt { SHUFFLE } else { "chaos-" }
}

fn cluster(proxy: &Microburst, root: &str) -> Cluster {
    let options = ClusterOptions {
        s3: Some(proxy.access(&S3.access())),
        shuffle: Some(format!("s3://{SHUFFLE}/{}", unique("faults"))),
        warehouse: Some(format!("s3://{LAKE}/{}", unique("warehouse"))),
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(options).unwrap();
    cluster.cli().unwrap().run(&["sql", "-c", &tpch::create_tables(root)]).unwrap().succeeded().unwrap();
    cluster
}

/// A difference, or what failed, for each of the 22 queries and both writes that is not right.
fn wrong_ones(cluster: &Cluster, oracle: &Oracle) -> Vec<String> {
    let cli = cluster.cli().unwrap();
    let mut wrong = Vec::new();
    for query in tpch::QUERIES {
        let want = oracle.query(query.sql).unwrap();
        match cli.query(&format!("{SETTINGS}{}", query.sql)) {
            Ok(got) => wrong.extend(got.difference(&want, query.order).map(|d| format!("q{}: {d}", query.number))),
            Err(error) => wrong.push(format!("q{}: {error}", query.number)),
        }
    }
    let sums = "count(*), count(DISTINCT l_orderkey), sum(l_linenumber), sum(l_extendedprice), sum(o_totalprice), count(DISTINCT l_shipmode)";
    let want = oracle.query(&format!("SELECT {sums} FROM ({LINES}) AS t")).unwrap();
    for format in ["DELTA", "PARQUET"] {
        let table = unique("written");
        let write = format!(
            "{SETTINGS}CREATE TABLE {table} STORED AS {format} PARTITIONED BY (l_shipmode) LOCATION 's3://{LAKE}/{table}/' AS {LINES};\n"
        );
        let written = cli.run(&["sql", "-c", &write]).unwrap().succeeded().map(drop);
        match written.and_then(|()| cli.query(&format!("SELECT {sums} FROM {table}"))) {
            Ok(got) => {
                wrong.extend(
                    got.difference(&want, selvedge_tests::rows::Order::Total).map(|d| format!("{format}: {d}")),
                );
            }
            Err(error) => wrong.push(format!("{format}: {error}")),
        }
    }
    wrong
}

#[test]
#[ignore = "takes minutes: `make chaos` runs it"]
fn chaos_faults_in_one_of_a_hundred_requests_change_no_row() {
    let _turn = heavy();
    let root = SOURCE_URL.as_str();
    let (oracle, root) = match asked_scale() {
        Some(scale) => {
            let data = tpch::data(scale, 4).unwrap();
            S3.upload(&data, SOURCE, "asked").unwrap();
            (Oracle::tpch(&data, 2).unwrap(), format!("s3://{SOURCE}/asked"))
        }
        None => (super::stage::ORACLE.clone(), root.to_owned()),
    };
    let proxy = Microburst::start(&S3.access().endpoint, 1).unwrap();
    let cluster = cluster(&proxy, &root);
    let rules: Vec<_> = Fault::ALL.into_iter().map(|fault| fault.rule(SHARE, bucket(fault))).collect();
    proxy.set_rules(&rules).unwrap();
    let wrong = wrong_ones(&cluster, &oracle);
    let fired: Vec<(Fault, u64)> = Fault::ALL.into_iter().zip(proxy.fired().unwrap()).collect();
    println!("faults: {fired:?}");
    assert!(wrong.is_empty(), "{} wrong with {fired:?}:\n{}\n{}", wrong.len(), wrong.join("\n"), cluster.logs());
    // Shuffle is read from disks and from other executors while they live: the store is asked only for what was lost with one.
    let unseen: Vec<_> = fired.iter().filter(|(fault, count)| *count == 0 && *fault != Fault::Corrupt).collect();
    assert!(unseen.is_empty(), "never happened: {unseen:?}");
}
