//! The measure of the framework: how much code the bank takes, part by part, as its README says.

use std::fs;
use std::path::Path;

const README: &str = include_str!("../README.md");

/// A row of the table of sizes in the README: files, and the number of lines that they stay below.
struct Part {
    files: Vec<&'static str>,
    limit: usize,
}

#[test]
fn every_part_of_the_bank_is_as_short_as_the_readme_says() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let parts = parts_of_the_readme();
    assert_eq!(parts.len(), 3, "the README has the table of sizes");
    for Part { files, limit } in parts {
        let lines: usize = files
            .iter()
            .map(|file| lines_of_code(&source.join(file)))
            .sum();
        assert!(
            lines < limit,
            "{files:?} have {lines} lines; the README says fewer than {limit}"
        );
    }
}

#[test]
fn the_project_readme_gives_the_same_sizes() {
    let project = include_str!("../../README.md");
    for part in parts_of_the_readme().iter().take(2) {
        assert!(
            project.contains(&format!("under {}", part.limit)),
            "README.md lacks the size {}",
            part.limit
        );
    }
}

fn parts_of_the_readme() -> Vec<Part> {
    README.lines().filter_map(part).collect()
}

fn part(line: &'static str) -> Option<Part> {
    let mut columns = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let files = columns.nth(1)?;
    let limit = columns.next()?.parse().ok()?;
    let files = files
        .split(' ')
        .map(|file| file.trim_matches('`'))
        .collect();
    Some(Part { files, limit })
}

fn lines_of_code(file: &Path) -> usize {
    let text = fs::read_to_string(file).expect("a source file");
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}
