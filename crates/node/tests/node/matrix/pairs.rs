//! A small set of combinations in which every two values of two dimensions occur together at least once.
//!
//! Called by the table of cases. Deterministic: the same dimensions give the same set in the same order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// For each dimension the number of its value.
pub(super) type Row = Vec<usize>;

/// Combinations that cover every pair of values that occurs in any combination that `is_possible`, and likewise every
/// combination of values of the dimensions `together`. Each dimension has so many values as `sizes` says. Greedy: the
/// next combination is always one that covers most of what is left.
pub(super) fn covering(sizes: &[usize], together: &[usize], is_possible: impl Fn(&[usize]) -> bool) -> Vec<Row> {
    let mut possible: Vec<Row> = rows(sizes).filter(|row| is_possible(row)).collect();
    // Of equally good ones the first is taken: stirred, so that it is not always the first value of a dimension.
    possible.sort_by_cached_key(|row| {
        row.iter().fold(7_u64, |sum, &value| (sum + value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    });
    let targets: Vec<Vec<usize>> = possible.iter().map(|row| targets(row, sizes, together)).collect();
    let mut is_left = vec![false; targets.iter().flatten().max().map_or(0, |last| last + 1)];
    targets.iter().flatten().for_each(|&target| is_left[target] = true);
    // What a row covers of what is left never grows: one that still is the best when asked again is the best of all.
    let mut best: BinaryHeap<_> = (0..possible.len()).map(|index| (usize::MAX, Reverse(index))).collect();
    let mut chosen = Vec::new();
    while let Some((promised, Reverse(index))) = best.pop() {
        let gain = targets[index].iter().filter(|&&target| is_left[target]).count();
        if gain == promised {
            chosen.push(possible[index].clone());
            targets[index].iter().for_each(|&target| is_left[target] = false);
        } else if gain > 0 {
            best.push((gain, Reverse(index)));
        }
    }
    chosen
}

/// Every combination there is.
fn rows(sizes: &[usize]) -> impl Iterator<Item = Row> {
    let row = |mut index: usize| {
        let digit = |&size: &usize| {
            let value = index % size;
            index /= size;
            value
        };
        sizes.iter().map(digit).collect()
    };
    (0..sizes.iter().product()).map(row)
}

/// Numbers of all that a row covers: one for each pair of values, and one for the values of `together`.
fn targets(row: &[usize], sizes: &[usize], together: &[usize]) -> Vec<usize> {
    let mut targets = Vec::new();
    let mut base = 0;
    for a in 0..sizes.len() {
        for b in a + 1..sizes.len() {
            targets.push(base + row[a] * sizes[b] + row[b]);
            base += sizes[a] * sizes[b];
        }
    }
    targets.push(together.iter().fold(0, |number, &a| number * sizes[a] + row[a]) + base);
    targets
}

/// All pairs of values of `sizes` that stand in one of `rows`, written down without the help of [`pairs`].
fn seen(sizes: &[usize], rows: &[Row]) -> BTreeSet<[(usize, usize); 2]> {
    let mut seen = BTreeSet::new();
    for (a, &values_of_a) in sizes.iter().enumerate() {
        for (b, &values_of_b) in sizes.iter().enumerate().skip(a + 1) {
            for (x, y) in (0..values_of_a).flat_map(|x| (0..values_of_b).map(move |y| (x, y))) {
                if rows.iter().any(|row| row[a] == x && row[b] == y) {
                    seen.insert([(a, x), (b, y)]);
                }
            }
        }
    }
    seen
}

#[test]
fn every_pair_is_covered() {
    let sizes = [4, 3, 3, 2];
    let rows = covering(&sizes, &[], |_| true);
    let all = 4 * 3 * 2 + 4 * 2 + 3 * 3 + 3 * 2 * 2;
    assert_eq!(seen(&sizes, &rows).len(), all);
    assert!(rows.len() < 20, "{} rows of 72", rows.len());
    assert_eq!(rows, covering(&sizes, &[], |_| true), "the same ones again");
}

#[test]
fn what_cannot_be_is_left_out_and_what_can_be_is_not() {
    let sizes = [3, 3, 3];
    let is_possible = |row: &[usize]| row[0] != 1 || row[2] == 2;
    let rows = covering(&sizes, &[], is_possible);
    assert!(rows.iter().all(|row| is_possible(row)));
    // 27 pairs but for the value 1 of the first dimension with two values of the last.
    assert_eq!(seen(&sizes, &rows).len(), 25);
}

#[test]
fn what_belongs_together_is_covered_together() {
    let sizes = [3, 2, 2, 3];
    let rows = covering(&sizes, &[0, 2, 3], |_| true);
    let found: BTreeSet<_> = rows.iter().map(|row| (row[0], row[2], row[3])).collect();
    assert_eq!((found.len(), rows.len()), (18, 18));
    assert_eq!(seen(&sizes, &rows).len(), 3 * 2 + 3 * 2 + 3 * 3 + 2 * 2 + 2 * 3 + 2 * 3);
}

#[test]
fn one_more_row_than_needed_is_not_taken() {
    assert_eq!(covering(&[2, 2], &[], |_| true).len(), 4);
    assert_eq!(covering(&[5, 1], &[], |_| true).len(), 5);
    assert_eq!(covering(&[2, 2], &[], |_| false).len(), 0);
}
