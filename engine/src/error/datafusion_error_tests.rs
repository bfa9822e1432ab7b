//! Every kind of error, and what it must become. Real statements are planned, so that a release of DataFusion that words
//! its errors otherwise fails here.

use datafusion::prelude::SessionContext;

use super::*;

async fn failure_of(sql: &str) -> Failure {
    let ctx = SessionContext::new();
    ctx.sql("CREATE TABLE orders (o_orderkey BIGINT, o_comment VARCHAR, \"Upper\" INT) AS VALUES (1, 'x', 0)")
        .await
        .unwrap();
    let error = match ctx.sql(sql).await {
        Err(e) => e,
        Ok(df) => df.collect().await.unwrap_err(),
    };
    classify(&error)
}

#[tokio::test]
async fn what_a_user_gets_wrong_is_named() {
    let rows = [
        ("SELEC 1", "SYNTAX_ERROR", "SELEC", ""),
        ("SELECT * FROM ordrs", "TABLE_NOT_FOUND", "ordrs", ""),
        ("SELECT * FROM no_such.orders", "TABLE_NOT_FOUND", "no_such", ""),
        ("SELECT o_orderky FROM orders", "COLUMN_NOT_FOUND", "o_orderky", "Did you mean o_orderkey?"),
        ("SELECT upper FROM orders", "COLUMN_NOT_FOUND", "upper", "\"Upper\""),
        ("SELECT flor(1.5)", "FUNCTION_NOT_FOUND", "flor", "floor"),
        ("SELECT upper(1, 2)", "INVALID_ARGUMENTS", "upper(String)", ""),
        ("SELECT o_orderkey / (o_orderkey - 1) FROM orders", "DIVISION_BY_ZERO", "division", "nullif"),
        ("SELECT CAST(o_comment AS INT) FROM orders", "BAD_DATA", "x", "try_cast"),
        ("SELECT o_orderkey FROM orders a JOIN orders b ON true", "AMBIGUOUS_COLUMN", "o_orderkey", "alias"),
    ];
    for (sql, code, cause, hint) in rows {
        let got = failure_of(sql).await;
        assert_eq!(got.code, code, "{sql}: {got:?}");
        assert_eq!((got.domain, got.retry), (Domain::User, Retry::Never), "{sql}");
        assert!(got.cause.contains(cause), "{sql}: {}", got.cause);
        assert!(got.hint.contains(hint), "{sql}: hint was {:?}", got.hint);
    }
}

#[tokio::test]
async fn a_function_near_none_gets_no_suggestion() {
    assert_eq!(failure_of("SELECT frobnicate(1)").await.hint, "");
}

#[test]
fn causes_are_found_through_wrappers() {
    let slow = || object_store::Error::Generic { store: "S3", source: "status code: 503".into() };
    let wrapped = [
        DataFusionError::ObjectStore(Box::new(slow())),
        DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(slow())))),
        DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(slow()))), None),
        DataFusionError::IoError(io::Error::other(slow())),
        DataFusionError::External(Box::new(DataFusionError::ObjectStore(Box::new(slow())))),
    ];
    for error in wrapped {
        let got = classify(&error);
        assert_eq!((got.code.as_str(), got.retry), ("STORE_UNAVAILABLE", Retry::Later), "{error}");
    }
}

#[test]
fn resources_and_bugs_are_not_the_users() {
    let rows = [
        (DataFusionError::ResourcesExhausted("Failed to allocate".into()), "OUT_OF_MEMORY", Domain::External),
        (
            DataFusionError::ResourcesExhausted("The used disk space during the spilling process has exceeded".into()),
            "DISK_FULL",
            Domain::External,
        ),
        (DataFusionError::Internal("oops".into()), "INTERNAL", Domain::Internal),
        (DataFusionError::IoError(io::ErrorKind::ConnectionReset.into()), "IO_ERROR", Domain::External),
    ];
    for (error, code, domain) in rows {
        let got = classify(&error);
        assert_eq!((got.code.as_str(), got.domain), (code, domain), "{error}");
    }
    let torn =
        DataFusionError::ParquetError(Box::new(ParquetError::General("Invalid Parquet file. Corrupt footer".into())));
    assert_eq!(classify(&torn).code, "CORRUPT_FILE");
}

#[test]
fn several_errors_are_one_failure_with_others() {
    let many = DataFusionError::Collection(vec![
        DataFusionError::Plan("table 'selvedge.public.a' not found".into()),
        DataFusionError::Plan("table 'selvedge.public.b' not found".into()),
    ]);
    let got = classify(&many);
    assert_eq!(got.cause, "table public.a does not exist");
    assert_eq!(got.others.len(), 1);
}
