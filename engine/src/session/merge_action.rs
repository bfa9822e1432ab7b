//! The function by which a `MERGE` refuses to change one row twice.
//!
//! What becomes of a pair of rows is a number; 0 is nothing. The number passes through this function together with whether
//! another pair before it has the same row of the table. What comes out says also which pairs are one too many, so that
//! whatever keeps or drops pairs later depends on it: it cannot be evaluated for some of them only, and it does not matter
//! how often it is.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::utils::take_function_args;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use selvedge_model::Failure;

/// What [`merge_action`] gives for a pair that is to be left out: another one has its row of the table.
pub const LEFT_OUT: i64 = -1;

/// `action`, a BIGINT, where a pair is not `repeated`, and [`LEFT_OUT`] where it is and has none. One that is repeated and
/// has an action fails with `MERGE_AMBIGUOUS`.
pub fn merge_action(action: Expr, repeated: Expr) -> Expr {
    merge_action_udf().call(vec![action, repeated])
}

pub(super) fn merge_action_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(MergeAction::new()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MergeAction {
    signature: Signature,
}

impl MergeAction {
    fn new() -> Self {
        // Volatile, although equal arguments give equal results: optimizers leave such calls where they are.
        Self { signature: Signature::exact(vec![DataType::Int64, DataType::Boolean], Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for MergeAction {
    fn name(&self) -> &str {
        "selvedge_merge_action"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [action, repeated] = take_function_args(self.name(), args.args)?;
        let repeated = repeated.into_array(args.number_rows)?;
        let actions = action.to_array(args.number_rows)?;
        let (repeats, numbers) = (repeated.as_boolean(), actions.as_primitive::<Int64Type>());
        let mut left = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let number = if numbers.is_valid(row) { numbers.value(row) } else { 0 };
            left.push(match repeats.is_valid(row) && repeats.value(row) {
                true if number != 0 => return Err(DataFusionError::External(Box::new(ambiguous()))),
                true => LEFT_OUT,
                false => number,
            });
        }
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(left))))
    }
}

fn ambiguous() -> Failure {
    let cause = "several rows of the source match one row of the table, which could be changed by only one of them";
    let hint = "Make the source unique by the columns of ON: GROUP BY them, or keep the rows where row_number() OVER \
                (PARTITION BY key ORDER BY ...) = 1.";
    Failure::user("MERGE_AMBIGUOUS", cause).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BooleanArray};
    use arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::common::config::ConfigOptions;

    use super::*;
    use crate::error::classify;

    fn call(action: ColumnarValue, repeated: ColumnarValue, number_rows: usize) -> Result<ColumnarValue> {
        let args = ScalarFunctionArgs {
            args: vec![action, repeated],
            arg_fields: vec![
                Arc::new(Field::new("action", DataType::Int64, true)),
                Arc::new(Field::new("repeated", DataType::Boolean, true)),
            ],
            number_rows,
            return_field: Arc::new(Field::new("r", DataType::Int64, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        merge_action_udf().invoke_with_args(args)
    }

    #[test]
    fn only_a_change_that_is_repeated_fails() {
        let actions = |values: Vec<Option<i64>>| ColumnarValue::Array(Arc::new(Int64Array::from(values)) as ArrayRef);
        let repeats =
            |values: Vec<Option<bool>>| ColumnarValue::Array(Arc::new(BooleanArray::from(values)) as ArrayRef);
        let fine = call(
            actions(vec![Some(0), Some(2), Some(1), None]),
            repeats(vec![Some(true), Some(false), None, Some(true)]),
            4,
        );
        let array = fine.unwrap().into_array(4).unwrap();
        assert_eq!(array.as_primitive::<Int64Type>().values(), &[LEFT_OUT, 2, 1, LEFT_OUT]);
        let error = call(actions(vec![Some(0), Some(2)]), repeats(vec![Some(true), Some(true)]), 2).unwrap_err();
        assert_eq!(classify(&error).code, "MERGE_AMBIGUOUS");
        // Constants are no exception, and nothing fails where there is no row.
        let always = ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)));
        let one = ColumnarValue::Scalar(ScalarValue::Int64(Some(1)));
        assert!(call(one.clone(), always.clone(), 3).is_err());
        assert!(call(one, always, 0).is_ok());
    }
}
