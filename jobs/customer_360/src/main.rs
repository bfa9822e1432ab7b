//! Customer 360: one row a customer, with what they ordered, returned and are worth. A DataFrame job, whole.
//!
//! A DataFrame job is a program of its own: it connects to the scheduler that `SELVEDGE_SCHEDULER` names, builds a plan with
//! DataFusion's DataFrame API, and sends the plan. All the work is done by the cluster's executors; this process only
//! waits. Copy this crate to begin one of your own. Run it with:
//!
//! ```sh
//! SELVEDGE_SCHEDULER=http://127.0.0.1:50050 customer-360 s3://lake/tpch s3://lake/mart/customer_360
//! ```

use std::process::ExitCode;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::JoinType;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::{count, max, min, sum};
use datafusion::logical_expr::ExprFunctionExt as _;
use datafusion::prelude::*;
use futures::StreamExt as _;
use selvedge::model::{HasFailure as _, RunState};
use selvedge::{DataFrameExt as _, RunHandle, Selvedge, call, call_window};

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(data), Some(target), None) = (args.next(), args.next(), args.next()) else {
        eprintln!(
            "usage: customer-360 DATA TARGET\n\n  DATA    directory or s3:// prefix that holds customer/, orders/ and lineitem/\n  TARGET  where the result goes"
        );
        return ExitCode::from(2);
    };
    let result = run(data.trim_end_matches('/'), &target).await;
    if let Err(error) = &result {
        let failure = error.failure();
        eprintln!("error[{}]: {}", failure.code, failure.cause);
        if !failure.hint.is_empty() {
            eprintln!("  hint: {}", failure.hint);
        }
    }
    // 0 succeeded, 1 failed, 2 wrong usage, 3 no scheduler: the codes of the `selvedge` command.
    ExitCode::from(selvedge::exit_code(&result))
}

async fn run(data: &str, target: &str) -> selvedge::Result<()> {
    let cluster = Selvedge::from_env().await?;
    // Only the schema is read here. A table of the catalog would be `cluster.table("orders").await?`.
    let customer = cluster.read_parquet(&format!("{data}/customer/")).await?;
    let orders = cluster.read_parquet(&format!("{data}/orders/")).await?;
    let lineitem = cluster.read_parquet(&format!("{data}/lineitem/")).await?;

    let result = customer_360(customer, orders, lineitem)?;
    let run = result.write_parquet_to(&cluster, target, &["segment"]).await?;
    follow(&run).await
}

/// The job itself. It is a function of DataFrames, so a test can give it tables in memory.
fn customer_360(customer: DataFrame, orders: DataFrame, lineitem: DataFrame) -> Result<DataFrame, DataFusionError> {
    // What each order brought in, and how many of its items came back.
    let order_value = lineitem.aggregate(
        vec![col("l_orderkey")],
        vec![
            sum(col("l_extendedprice") * (lit(1) - col("l_discount"))).alias("order_value"),
            count(lit(1)).alias("order_items"),
            sum(when(col("l_returnflag").eq(lit("R")), lit(1)).otherwise(lit(0))?).alias("order_returns"),
        ],
    )?;
    // What each customer ordered.
    let history = orders.join(order_value, JoinType::Inner, &["o_orderkey"], &["l_orderkey"], None)?.aggregate(
        vec![col("o_custkey")],
        vec![
            count(lit(1)).alias("orders"),
            min(col("o_orderdate")).alias("first_order"),
            max(col("o_orderdate")).alias("last_order"),
            sum(col("order_items")).alias("items"),
            sum(col("order_returns")).alias("returns"),
            sum(col("order_value")).alias("lifetime_value"),
        ],
    )?;
    // A left join: a customer without orders is a customer too.
    let profile = customer.join(history, JoinType::Left, &["c_custkey"], &["o_custkey"], None)?.select(vec![
        col("c_custkey").alias("customer"),
        col("c_name").alias("name"),
        // Functions go by name too; only the name travels in the plan.
        call("coalesce", vec![col("orders"), lit(0_i64)])?.alias("orders"),
        call("coalesce", vec![col("items"), lit(0_i64)])?.alias("items"),
        call("coalesce", vec![col("returns"), lit(0_i64)])?.alias("returns"),
        col("first_order"),
        col("last_order"),
        cast(call("coalesce", vec![col("lifetime_value"), lit(0)])?, DataType::Decimal128(38, 2))
            .alias("lifetime_value"),
        col("c_mktsegment").alias("segment"),
    ])?;
    // The customer's place in their segment.
    let place = call_window("row_number", vec![])?
        .partition_by(vec![col("segment")])
        .order_by(vec![col("lifetime_value").sort(false, false), col("customer").sort(true, false)])
        .build()?
        .alias("segment_rank");
    // Partition columns come last in a table; `write_parquet_to` moves them there by name.
    profile.window(vec![place])
}

/// Follows the run to its end, one line whenever its statement moves on.
async fn follow(run: &RunHandle) -> selvedge::Result<()> {
    eprintln!("submitted run {}", run.id());
    let mut updates = run.watch();
    let mut said = None;
    while let Some(update) = updates.next().await {
        let update = update?;
        if said != Some(update.state) {
            said = Some(update.state);
            eprintln!("{:?}", update.state);
        }
        if update.state == RunState::Succeeded {
            let written: u64 = update.statements.iter().map(|s| s.counters.rows_written).sum();
            eprintln!("{written} customers written");
        }
    }
    // The run has ended; this turns a failed one into an error.
    run.wait().await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray, cast::AsArray as _,
    };
    use datafusion::arrow::datatypes::{Decimal128Type, Int64Type};

    use super::*;

    fn frame(columns: Vec<(&str, ArrayRef)>) -> DataFrame {
        SessionContext::new().read_batch(RecordBatch::try_from_iter(columns).unwrap()).unwrap()
    }

    fn ints(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn money(values: &[i128]) -> ArrayRef {
        Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(15, 2).unwrap())
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[tokio::test]
    async fn every_customer_has_one_row_also_without_orders() {
        let customer = frame(vec![
            ("c_custkey", ints(&[1, 2])),
            ("c_name", texts(&["Ann", "Bob"])),
            ("c_mktsegment", texts(&["A", "A"])),
        ]);
        let orders = frame(vec![
            ("o_orderkey", ints(&[10, 11])),
            ("o_custkey", ints(&[1, 1])),
            ("o_orderdate", Arc::new(Date32Array::from(vec![5, 9]))),
        ]);
        let lineitem = frame(vec![
            ("l_orderkey", ints(&[10, 10, 11])),
            ("l_extendedprice", money(&[10_000, 5_000, 2_000])),
            ("l_discount", money(&[10, 0, 0])),
            ("l_returnflag", texts(&["R", "N", "N"])),
        ]);
        let result = customer_360(customer, orders, lineitem).unwrap().sort(vec![col("customer").sort(true, false)]);
        let batches = result.unwrap().collect().await.unwrap();
        let batch = datafusion::arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        let ints = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
        assert_eq!((ints("customer"), ints("orders"), ints("items")), (vec![1, 2], vec![2, 0], vec![3, 0]));
        assert_eq!(ints("returns"), [1, 0]);
        let value = batch.column_by_name("lifetime_value").unwrap().as_primitive::<Decimal128Type>();
        assert_eq!(value.values().to_vec(), [16_000, 0], "100 less 10 %, and 50, and 20");
    }
}
