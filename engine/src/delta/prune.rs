//! Leaves out files that filters rule out: by their partitions exactly, by what is known of their columns where it helps.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::snapshot::DeltaFile;

/// The files whose partitions satisfy all filters, which are on partition columns only. NULL does not, as in WHERE.
pub(super) fn by_partition<'a>(
    state: &dyn Session,
    files: &'a [DeltaFile],
    fields: &[FieldRef],
    filters: &[&Expr],
) -> Result<Vec<&'a DeltaFile>> {
    if filters.is_empty() || files.is_empty() {
        return Ok(files.iter().collect());
    }
    let columns = (0..fields.len())
        .map(|i| ScalarValue::iter_to_array(files.iter().filter_map(|f| f.partition.get(i).cloned())))
        .collect::<Result<Vec<_>>>()?;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns)?;
    let schema = DFSchema::try_from(batch.schema())?;
    let mut keeps = vec![true; files.len()];
    for filter in filters {
        let expr = state.create_physical_expr((*filter).clone(), &schema)?;
        let answer = expr.evaluate(&batch)?.into_array(files.len())?;
        let answer = answer.as_boolean();
        for (i, keep) in keeps.iter_mut().enumerate() {
            *keep &= answer.is_valid(i) && answer.value(i);
        }
    }
    Ok(files.iter().zip(keeps).filter_map(|(file, keep)| keep.then_some(file)).collect())
}

/// Which files may hold rows that satisfy all filters, as far as their statistics tell. A filter that statistics cannot
/// judge keeps all.
pub(super) fn by_statistics(
    state: &dyn Session,
    known: &[Arc<Statistics>],
    schema: &SchemaRef,
    filters: &[Expr],
) -> Result<Vec<bool>> {
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    let exprs = filters.iter().map(|filter| state.create_physical_expr(filter.clone(), &columns));
    let predicate = conjunction(exprs.collect::<Result<Vec<_>>>()?);
    match PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).build(predicate) {
        Some(predicate) => predicate.prune(&Known { known, schema }),
        // Pruning saves work and decides nothing: what it does not understand is left to the scan.
        None => Ok(vec![true; known.len()]),
    }
}

/// Statistics of files by column.
struct Known<'a> {
    known: &'a [Arc<Statistics>],
    schema: &'a SchemaRef,
}

impl Known<'_> {
    fn values(&self, column: &Column, of: impl Fn(&ColumnStatistics) -> &Precision<ScalarValue>) -> Option<ArrayRef> {
        let (at, field) = self.schema.column_with_name(&column.name)?;
        let null = ScalarValue::try_from(field.data_type()).ok()?;
        let value = |s: &Arc<Statistics>| {
            let known = s.column_statistics.get(at).and_then(|c| of(c).get_value().cloned());
            known.unwrap_or_else(|| null.clone())
        };
        ScalarValue::iter_to_array(self.known.iter().map(value)).ok()
    }
}

impl PruningStatistics for Known<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |c| &c.min_value)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |c| &c.max_value)
    }

    fn num_containers(&self) -> usize {
        self.known.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (at, _) = self.schema.column_with_name(&column.name)?;
        let count = |s: &Arc<Statistics>| exact(&s.column_statistics.get(at)?.null_count);
        Some(Arc::new(UInt64Array::from_iter(self.known.iter().map(count))))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter(self.known.iter().map(|s| exact(&s.num_rows)))))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

fn exact(count: &Precision<usize>) -> Option<u64> {
    match count {
        Precision::Exact(count) => u64::try_from(*count).ok(),
        _ => None,
    }
}
