//! What the command line says of itself, and of words that are none.

use std::process::{Command, Output};

fn manifold(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_manifold")).env_remove("CNI_COMMAND").args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn each_command_tells_on_one_screen_what_it_takes() {
    let overview = text(&manifold(&["--help"]).stdout);
    let commands = overview.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(overview.contains("Exit codes: 0 done, 1 failed, 2 wrong usage."), "{overview}");

    assert!(commands.len() > 9, "{overview}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let help = manifold(&[command, "--help"]);
        assert!(help.status.success(), "{command}");
        let help = text(&help.stdout);
        assert!(help.lines().count() <= 30, "{help}");
    }
}

#[test]
fn the_version_is_told_by_whatever_word_one_asks_for_it() {
    let version = format!("manifold {}\n", env!("CARGO_PKG_VERSION"));
    for word in ["--version", "-V", "-v", "version"] {
        let told = manifold(&[word]);
        assert!(told.status.success() && told.stderr.is_empty(), "{word}");
        assert_eq!(text(&told.stdout), version, "{word}");
    }
}

#[test]
fn words_that_are_missing_are_named_with_what_may_stand_there() {
    for (words, missing) in [
        (&["attach", "--networks", "data"][..], "--netns <NAME|PATH>"),
        (&["attach", "--netns", "pod1"], "<--networks <SELECTION>|--default <NAME>>"),
        (&["detach"], "<--netns <NAME|PATH>|--container-id <ID>>"),
        (&["check"], "<--netns <NAME|PATH>|--container-id <ID>>"),
    ] {
        let refused = manifold(words);

        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        let told = text(&refused.stderr);
        let named = told.lines().any(|line| line.trim() == missing);
        assert!(named && told.contains("\nUsage: manifold "), "{told}");
    }
}

#[test]
fn a_directory_of_records_that_is_named_must_be_there() {
    for command in ["list", "prune"] {
        let refused = manifold(&[command, "--state-dir", "/no/such"]);

        assert_eq!(refused.status.code(), Some(1), "{command}");
        let told = text(&refused.stderr);
        assert!(
            told.starts_with("error: the directory of records \"/no/such\" is not there\n  remedy: "),
            "{told}"
        );
    }
}

#[test]
fn a_configuration_that_is_named_must_be_there() {
    for command in ["daemon", "install"] {
        let refused = manifold(&[command, "--config", "/no/such.json"]);

        assert_eq!(refused.status.code(), Some(1));
        let told = text(&refused.stderr);
        assert!(told.starts_with("error: cannot read \"/no/such.json\": No such file"), "{told}");
        assert!(told.contains("\n  remedy: make it, or name another in --config\n"), "{told}");
    }
}
