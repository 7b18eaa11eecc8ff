//! Names of tenants.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;

#[test]
fn k17_a_tenant_is_one_level_whatever_it_is_put_into() {
    for name in ["a", "acme-2", "A.b_c", &"x".repeat(64)] {
        assert_eq!(TenantName::parse(name).unwrap().as_str(), name);
    }
    for name in ["", "a/b", "+", "#", "a+", "$SYS", "-a", ".", "..", "a b", "ä", "a\0", "%u", &"x".repeat(65)] {
        assert_eq!(TenantName::parse(name), Err(TenantNameError), "{name:?}");
    }
}
