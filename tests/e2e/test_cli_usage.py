"""The command line itself: help, suggestions for what is mistyped, messages and exit codes of wrong usage, man page and completions."""
import os
import re
import shutil
import subprocess

import support
from support import ROOT, judge, read, refused, rows, run, tiny, write

COMMANDS = ["judge", "run", "plan", "validate", "info", "render", "parse", "tokenize", "logits", "inspect", "export", "verify", "quantize", "merge", "bench", "pull",
            "push"]


def every_command_prints_its_help_and_exits_0(_):
    for command in COMMANDS:
        for flag in ("--help", "-h"):
            done = run(command, flag, want=0)
            assert done.out.startswith("usage: gavel %s" % command) and "Examples:" in done.out, done.out
            assert done.err == "", done.err
        assert run("help", command, want=0).out == run(command, "--help", want=0).out


def help_fits_80_columns_but_for_examples(_):
    for command in COMMANDS:
        for line in run(command, "--help").out.split("\nExamples:")[0].split("\n"):
            assert len(line) <= 80, (command, line)


def the_overview_lists_all_commands(_):
    done = run("--help", want=0)
    assert re.findall(r"^  (\w+) ", done.out, re.M) == COMMANDS, done.out
    assert run("help", want=0).out == done.out
    without = run(want=2)
    assert without.out == "" and without.err == done.out, without.err


def the_version_is_printed(_):
    assert re.match(r"gavel \d+\.\d+\.\d+\n", run("--version", want=0).out)


def an_unknown_command_is_refused_with_the_nearest_one(_):
    refused(run("jugde"), 2, "unknown command jugde; did you mean judge?")
    refused(run("xyzzy"), 2, "unknown command xyzzy; gavel --help lists them")
    refused(run("help", "pasre"), 2, "did you mean parse?")


def an_unknown_option_is_refused_with_the_nearest_one(_):
    for command, wrong, right in (("judge", "--rubrik", "--rubric"), ("judge", "--max-token", "--max-tokens"), ("render", "--templat", "--template"),
                                  ("parse", "--verdikt", "--verdict"), ("tokenize", "--specials", "--special"), ("logits", "--position", "--positions"),
                                  ("inspect", "--tensor", "--tensors"), ("export", "--al", "--all")):
        refused(run(command, wrong), 2, "%s: unknown option %s; did you mean %s?" % (command, wrong, right))
    refused(run("judge", "--zzzzzzzz"), 2, "unknown option --zzzzzzzz; see gavel judge --help")
    refused(run("judge", "in.jsonl", "extra"), 2, 'unexpected argument "extra"')
    refused(run("judge"), 2, "missing argument: gavel judge takes INPUT")


def values_out_of_range_are_refused(_):
    for option, value, part in (("--temperature", "-1", "not in 0 to 100"), ("--max-tokens", "0", "not in 1 to"), ("--top-p", "1.5", "not in 1e-09 to 1"),
                                ("--seed", "x", "is not a whole number"), ("--memory", "lots", "is not a size in bytes"), ("--mode", "relativ", "did you mean relative?"),
                                ("--prompt", "paperr", "did you mean paper?"), ("--verdict", "strct", "did you mean strict?"), ("--seed", "", "is not a whole number")):
        refused(run("judge", "in.jsonl", option, value), 2, "option %s: " % option, part)
    refused(run("judge", "in.jsonl", "--seed"), 2, "option --seed needs a value")
    refused(run("judge", "in.jsonl", "--json=yes"), 2, "option --json takes no value")
    refused(run("judge", "in.jsonl", "--out", "a.csv", "--out", "b.csv"), 2, "option --out is given twice")


def options_that_do_not_go_together_are_refused(_):
    write("in.jsonl", rows(1))
    for extra, part in ((["--rubric-col", "r"], "--rubric and --rubric-col exclude each other"), (["--json", "--quiet"], "exclude each other"),
                        (["--fresh", "--retry-failed"], "exclude each other"), (["--prompt", "raw"], "--prompt raw takes no rubric"),
                        (["--expected-score", "--mode", "relative"], "--expected-score needs --mode absolute"),
                        (["--expected-score", "--verdict", "strict"], "--expected-score needs"), (["--shard", "4/4"], "expected I/N with 0 <= I < N"),
                        (["--shard", "-1/4"], "expected I/N"), (["--map", "instruction"], "is not NAME=COLUMN")):
        done = judge("in.jsonl", "out.jsonl", *extra, model="none.gguf")
        if "--json" in extra:
            assert done.code == 2 and part in done.events("error")[0]["message"], done.err
        else:
            refused(done, 2, part)
    refused(judge("in.jsonl", "out.jsonl", "--order", "both", model="none.gguf"), 1, "judges the given order")
    refused(judge("in.jsonl", "out.jsonl", model="none.gguf", rubric=None), 2, "no rubric given")
    refused(run("judge", "in.jsonl", "--rubric", "honesty", "--out", "o.jsonl"), 2, "no model given")
    refused(run("judge", "in.jsonl", "--rubric", "honesty", "--model", "m.gguf"), 2, "no output given")
    refused(judge("in.jsonl", "in.jsonl", model="none.gguf"), 2, "--out in.jsonl is the input itself")
    refused(run("render", "in.jsonl", "--template", "chatml", "--rubric", "honesty"), 2, "it goes with no option but --row")
    refused(run("render", "in.jsonl"), 2, "no rubric given")
    refused(run("render", "in.jsonl", "--rubric", "honesty", "--chat-template", "chatml"), 2, "--chat-template needs --model")
    refused(run("tokenize", "--hex", "--model", "m"), 2, "--hex needs --decode")
    refused(run("tokenize", "in.jsonl"), 2, "no tokenizer given")
    refused(run("logits", "in.jsonl", "--model", "m"), 2, "no output given")
    for n in ("0", "7x", "", "-3", "99999999999"):
        refused(run("logits", "in.jsonl", "--model", "m", "--out", "o", "--positions", n), 2, "option --positions: \"%s\" is not all, last or a number" % n)
    refused(run("inspect"), 2, "give a model file, a run's journal, or --cpu")
    refused(run("export", "x.run"), 2, "no output given")


def outputs_that_cannot_be_are_refused_before_a_model_is_loaded(folder):
    write("in.jsonl", rows(1))
    write("file", "")
    os.mkdir("there")
    for out, code, part in (("out.txt", 2, "unknown suffix; write .jsonl, .json, .csv or .tsv, also with .gz or .zst behind it, or .parquet"), ("out", 2, "unknown suffix"), ("-", 2, "rows are not written to standard output; write .jsonl"),
                            ("there", 1, "there is a folder, and rows go to a file"), ("no/such/out.jsonl", 1, "No such file or directory"),
                            ("file/out.jsonl", 1, "file is not a folder")):
        refused(judge("in.jsonl", out, model="none.gguf"), code, part)
    os.chmod("there", 0o555)
    options = {}
    if os.geteuid() == 0:  # root may write anywhere: ask as nobody
        os.chmod(folder, 0o755)
        options = {"user": 65534, "group": 65534}
    try:
        done = judge("in.jsonl", "there/out.jsonl", model="none.gguf", **options)
    except PermissionError:
        raise support.Skip("another user may not run the binary here") from None
    refused(done, 1, "cannot write there/out.jsonl: folder there: Permission denied")


def inputs_that_cannot_be_are_refused_before_a_model_is_loaded(_):
    write("in.txt", "x")
    os.mkdir("d.jsonl")
    write("empty.jsonl", "")
    for source, code, part in (("none.jsonl", 1, "cannot open none.jsonl: No such file"), ("in.txt", 2, "unknown suffix; rows are read from"), ("d.jsonl", 1, "no data files"),
                               ("empty.jsonl", 1, "empty.jsonl: the file is empty"), ("x.parquet", 1, "cannot open x.parquet: No such file"), ("hf://a/b", 2, "a data set is written hf://datasets/ORG/NAME")):
        refused(judge(source, "out.jsonl", model="none.gguf"), code, part)


def models_that_cannot_be_are_refused(_):
    write("in.jsonl", rows(1))
    write("x.gguf", "GGUF")
    for model, code, part in (("none.gguf", 1, "none.gguf: No such file"), ("x.gguf", 1, "x.gguf: "), ("http://a:b@localhost:1/v1", 2, "password"), (".", 1, ".: ")):
        refused(judge("in.jsonl", "out.jsonl", model=model), code, part)
    refused(judge("in.jsonl", "out.jsonl", "--chat-template", "chatlm", model=tiny("llama")), 2, "neither a built-in layout nor a file; did you mean chatml?")


def mistakes_in_the_keys_of_the_test_engine_are_named(_):
    support.need_mock()
    write("in.jsonl", rows(1))
    refused(judge("in.jsonl", "out.jsonl", model="mock:fial=3"), 2, "--model mock: no key fial; it has fail, long")
    refused(judge("in.jsonl", "out.jsonl", model="mock:fail=x"), 2, "--model mock: fail=x, expected a number")
    refused(judge("in.jsonl", "out.jsonl", model="mock:log=no/such/file"), 1, "--model mock: log no/such/file: No such file")


def a_closed_standard_output_is_a_failure(_):
    write("in.jsonl", rows(2000))
    p = support.start("render", "in.jsonl", "--rubric", "honesty")
    p.stdout.close()
    err = p.stderr.read().decode()
    assert p.wait(timeout=60) == 1 and err == "gavel: standard output cannot be written: Broken pipe\n", err
    with open("/dev/full", "w") as full:
        done = support.finish(support.start("inspect", "--cpu", stdout=full))
    assert done.code == 1 and done.err == "gavel: standard output cannot be written: No space left on device\n", done.err


def the_cpu_and_its_kernels_are_shown(_):
    out = run("inspect", "--cpu", want=0).out
    assert re.search(r"kernel sets: ref.*used: \w+", out), out


def a_model_is_shown_with_its_shape(_):
    out = run("inspect", tiny("qwen2"), "--tensors", want=0).out
    for part in ("GGUF v3", "shape: qwen2, 0.2 M parameters, 3 layers, width 64, 4 heads of 16 (2 for keys and values), feed-forward 192",
                 "vocabulary 768 (embeddings tied), context 1024, RoPE theta 1000000", "tokenizer: qwen2, 768 tokens, BOS <|endoftext|> (not added), EOS <|im_end|>",
                 "general.architecture = \"qwen2\"", "blk.2.ffn_down.weight", "chat template: in the file"):
        assert part in out, (part, out)


def control_bytes_of_a_model_file_do_not_reach_the_terminal(_):
    data = read(tiny("llama", "f32"))
    assert data.count(b"general.architecture") == 1 and b"<s>" in data
    # a token, a key and a tensor's name get an escape sequence in place of bytes of their own
    data = data.replace(b"general.type", b"general\x1b[31m").replace(b"blk.0.attn_norm", b"blk.0.\x1b[31mnorm").replace(b"<s>", b"\x1b[m", 1)
    write("bad.gguf", data)
    out = run("inspect", "bad.gguf", "--tensors", want=0).raw_out
    for part in (b"general\\x1b[31m = ", b"blk.0.\\x1b[31mnorm.weight", b"BOS \\x1b[m (added)"):
        assert part in out, (part, out)
    assert not [c for c in out if c < 32 and c != 10], out
    write("bad.gguf", data.replace(b"general.architecture", b"general.architectur\n"))
    refused(judge(write("in.jsonl", rows(1)), "out.jsonl", model="bad.gguf"), 1, "bad.gguf: ", "general.architecture")
    write("bad.gguf", data.replace(b"blk.0.attn_q.weight", b"blk.\n.attn_q.weight"))
    refused(judge("in.jsonl", "out.jsonl", model="bad.gguf"), 1, "bad.gguf: ", "blk.")


def the_man_page_and_the_completions_are_up_to_date(_):
    for args, path in ((["--man"], "man/gavel.1"), (["--completion", "bash"], "completions/gavel.bash"), (["--completion", "zsh"], "completions/_gavel")):
        made = run(*args, want=0).raw_out
        assert made == read(os.path.join(ROOT, path)), "%s differs: gavel %s > %s" % (path, " ".join(args), path)
    refused(run("--completion", "fish"), 2, "--completion takes bash or zsh")


def the_man_page_renders_without_warnings_and_has_every_option(_):
    page = run("--man", want=0).raw_out
    write("gavel.1", page)
    for option in re.findall(r"^ +(?:-\w, +)?--([a-z-]+)", "".join(run(c, "--help").out for c in COMMANDS), re.M):
        assert option == "help" or b"\\-\\-" + option.encode().replace(b"-", b"\\-") in page, option
    if not shutil.which("groff"):
        raise support.Skip("there is no groff to render it")
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", "gavel.1"], capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr == b"", done.stderr


def the_completions_are_valid_and_complete(_):
    script = os.path.join(ROOT, "completions", "gavel.bash")
    subprocess.run(["bash", "-n", script], check=True)
    ask = 'source "$1"; COMP_WORDS=(gavel %s); COMP_CWORD=%d; _gavel; echo "${COMPREPLY[@]}"'
    for words, want in (("ju", ["judge"]), ("judge --verd", ["--verdict"]), ("judge --verdict con", ["constrained"]), ("export --a", ["--all"])):
        done = subprocess.run(["bash", "-c", ask % (words, len(words.split())), "bash", script], capture_output=True, text=True, check=True)
        assert done.stdout.split() == want, (words, done.stdout)
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", os.path.join(ROOT, "completions", "_gavel")], check=True)


support.main([every_command_prints_its_help_and_exits_0, help_fits_80_columns_but_for_examples, the_overview_lists_all_commands, the_version_is_printed,
              an_unknown_command_is_refused_with_the_nearest_one, an_unknown_option_is_refused_with_the_nearest_one, values_out_of_range_are_refused,
              options_that_do_not_go_together_are_refused, outputs_that_cannot_be_are_refused_before_a_model_is_loaded,
              inputs_that_cannot_be_are_refused_before_a_model_is_loaded, models_that_cannot_be_are_refused, mistakes_in_the_keys_of_the_test_engine_are_named, a_closed_standard_output_is_a_failure,
              the_cpu_and_its_kernels_are_shown, a_model_is_shown_with_its_shape, control_bytes_of_a_model_file_do_not_reach_the_terminal,
              the_man_page_and_the_completions_are_up_to_date, the_man_page_renders_without_warnings_and_has_every_option,
              the_completions_are_valid_and_complete])
