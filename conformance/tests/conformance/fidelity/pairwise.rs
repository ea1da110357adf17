//! Rows in which every two values of different dimensions meet at least once.

/// Rows of one choice in each dimension; `sizes` says how many choices each has. The same rows every time.
pub(super) fn rows(sizes: &[usize]) -> Vec<Vec<usize>> {
    let starts: Vec<usize> = sizes
        .iter()
        .scan(0, |next, size| Some(std::mem::replace(next, *next + size)))
        .collect();
    let total = sizes.iter().sum::<usize>();
    // What has met, by the numbers of both values among all.
    let mut met = vec![false; total * total];
    let dimension = |value: usize| starts.partition_point(|start| *start <= value) - 1;
    let mut rows = Vec::new();
    loop {
        let open = (0..total * total).find(|pair| {
            let (left, right) = (pair / total, pair % total);
            left < right && dimension(left) != dimension(right) && !met[*pair]
        });
        let Some(open) = open else { return rows };
        let mut chosen = vec![None; sizes.len()];
        for value in [open / total, open % total] {
            chosen[dimension(value)] = Some(value);
        }
        for at in 0..sizes.len() {
            if chosen[at].is_some() {
                continue;
            }
            let fresh = |value: usize| {
                let others = chosen.iter().flatten();
                others
                    .filter(|other| !met[value.min(**other) * total + value.max(**other)])
                    .count()
            };
            // Ties go to another value in each row.
            let choices = (0..sizes[at]).map(|choice| starts[at] + (choice + rows.len()) % sizes[at]);
            chosen[at] = choices.max_by_key(|value| fresh(*value));
        }
        let chosen: Vec<usize> = chosen.into_iter().flatten().collect();
        for (number, left) in chosen.iter().enumerate() {
            for right in &chosen[number + 1..] {
                met[left * total + right] = true;
            }
        }
        rows.push(
            chosen
                .iter()
                .zip(&starts)
                .map(|(value, start)| value - start)
                .collect(),
        );
    }
}

#[test]
fn fidelity_rows_hold_every_pair() {
    let sizes = [3, 1, 4, 2];
    let rows = rows(&sizes);
    for (left, right) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        for (one, other) in (0..sizes[left]).flat_map(|one| (0..sizes[right]).map(move |other| (one, other)))
        {
            let meets = rows.iter().any(|row| row[left] == one && row[right] == other);
            assert!(meets, "{one} of {left} and {other} of {right}");
        }
    }
    assert!(rows.len() < 18, "{} rows", rows.len());
}
