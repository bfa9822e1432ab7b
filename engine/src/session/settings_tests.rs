//! What may be set, how it is read back, and how it is refused.

use super::*;

#[test]
fn good_settings_are_read_back_typed() {
    let mut settings = Settings::new();
    assert_eq!((settings.target_file_bytes(), settings.compression()), (256 << 20, "zstd(3)"));
    assert_eq!((settings.adaptive(), settings.target_partitions()), (None, None));
    settings.set("selvedge.write.target_file_bytes", "64MiB").unwrap();
    settings.set("SELVEDGE.write.compression", "ZSTD").unwrap();
    settings.set("selvedge.planner.adaptive", "FALSE").unwrap();
    settings.set("selvedge.planner.target_partitions", "12").unwrap();
    settings.set("selvedge.planner.hash_join_build_bytes", "1KiB").unwrap();
    assert_eq!(settings.hash_join_build_bytes(), Some(1024));
    settings.set("ballista.planner.coalesce.enabled", "true").unwrap();
    assert_eq!((settings.target_file_bytes(), settings.compression()), (64 << 20, "zstd(3)"));
    assert_eq!((settings.adaptive(), settings.target_partitions()), (Some(false), Some(12)));
    assert_eq!(settings.entries().len(), 6);
    settings.set("selvedge.write.target_file_bytes", "1048576").unwrap();
    assert_eq!(settings.target_file_bytes(), 1 << 20);
    assert_eq!(settings.auto_optimize_files(), Some(50));
    settings.set("selvedge.write.auto_optimize_files", "0").unwrap();
    assert_eq!(settings.auto_optimize_files(), None);
    assert_eq!((settings.statement_timeout(), settings.run_timeout()), (None, None));
    settings.set("selvedge.statement.timeout", "90m").unwrap();
    settings.set("selvedge.run.timeout", "0").unwrap();
    assert_eq!(settings.entries()["selvedge.statement.timeout"], "1h 30m");
    assert_eq!((settings.statement_timeout(), settings.run_timeout()), (Some(Duration::from_secs(5400)), None));
    assert_eq!(DEFAULT_TARGET_FILE_BYTES.to_string(), KNOWN[0].default.unwrap());
    assert_eq!(DEFAULT_AUTO_OPTIMIZE_FILES.to_string(), KNOWN[2].default.unwrap());
}

#[test]
fn bad_settings_are_refused_and_named() {
    let mut settings = Settings::new();
    let rows = [
        ("selvedge.write.target_file_byte", "1", "UNKNOWN_SETTING", "selvedge.write.target_file_bytes"),
        ("datafusion.execution.batch_siez", "1", "UNKNOWN_SETTING", "datafusion.execution.batch_size"),
        ("spark.sql.shuffle.partitions", "1", "UNKNOWN_SETTING", "selvedge.planner.target_partitions"),
        ("selvedge.write.target_file_bytes", "big", "INVALID_SETTING", "256MiB"),
        ("selvedge.write.compression", "zstd(99)", "INVALID_SETTING", "zstd(22)"),
        ("selvedge.statement.timeout", "30", "INVALID_SETTING", "30m"),
        ("datafusion.execution.batch_size", "many", "INVALID_SETTING", ""),
        ("ballista.planner.coalesce.enabled", "7", "INVALID_SETTING", ""),
        ("datafusion.catalog.default_catalog", "x", "INVALID_SETTING", ""),
    ];
    for (key, value, code, hint) in rows {
        let got = settings.set(key, value).unwrap_err();
        assert_eq!(got.code, code, "{key} = {value}: {got:?}");
        assert!(got.hint.contains(hint), "{key} = {value}: {}", got.hint);
    }
    assert!(settings.entries().is_empty());
}
