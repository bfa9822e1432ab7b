//! What the suite's runs share: small TPC-H data in a bucket of its own beside those for shuffle and tables, the oracle over
//! the same files, and the faulty proxy before the S3 server.

use std::path::PathBuf;
use std::sync::LazyLock;

use selvedge_tests::microburst::Microburst;
use selvedge_tests::oracle::Oracle;
use selvedge_tests::tpch;

use crate::stage::S3;

pub const SOURCE: &str = "chaos-source";
pub const SHUFFLE: &str = "chaos-shuffle";
pub const LAKE: &str = "chaos-lake";

/// So small that one run takes seconds.
const SCALE: f64 = 0.05;

/// The scale that was asked for, if one was.
pub fn asked_scale() -> Option<f64> {
    std::env::var("SELVEDGE_TEST_SCALE").ok().map(|scale| scale.parse().unwrap())
}

pub static DATA: LazyLock<PathBuf> = LazyLock::new(|| tpch::data(SCALE, 4).unwrap());

/// The data in its bucket, with the other buckets beside it: the root of its tables.
pub static SOURCE_URL: LazyLock<String> = LazyLock::new(|| {
    for bucket in [SOURCE, SHUFFLE, LAKE] {
        S3.create_bucket(bucket).unwrap();
    }
    S3.upload(&DATA, SOURCE, "tpch").unwrap();
    format!("s3://{SOURCE}/tpch")
});

pub static ORACLE: LazyLock<Oracle> = LazyLock::new(|| Oracle::tpch(&DATA, 2).unwrap());

pub static PROXY: LazyLock<Microburst> = LazyLock::new(|| Microburst::start(&S3.access().endpoint, 1).unwrap());
