# Each recipe does its own set-up, is safe to run again, and says what it is doing.

set shell := ["bash", "-euo", "pipefail", "-c"]

export_python := ".venv/export/bin/python"
poq := "target/release/poq"

# List the recipes
default:
    @just --list --unsorted

# Flags go to `poq run`; the export takes part in --skip-missing. What is missing is said first.
# Run an experiment end to end: build, models, data sets, every stage, report (experiments/EXPERIMENT.toml)
reproduce EXPERIMENT="quick" *FLAGS:
    #!/usr/bin/env bash
    set -euo pipefail
    # Downloads and exports wait on the network and on one core: the compiler takes the rest meanwhile.
    echo "just: building poq and bringing the models and data sets of experiments/{{EXPERIMENT}}.toml" >&2
    flags=" {{FLAGS}} "
    arguments=(--experiment experiments/{{EXPERIMENT}}.toml)
    [[ "$flags" == *" --skip-missing "* ]] && arguments+=(--skip-missing)
    just export "${arguments[@]}" &
    exporting=$!
    cargo build --release --locked &
    building=$!
    trap 'kill "$exporting" "$building" 2>/dev/null || true' EXIT
    wait -n # whichever fails first ends the other: a preflight that misses something does not wait for the compiler
    wait -n
    trap - EXIT
    # Where the export brought CUDA's libraries, ONNX Runtime finds them there.
    libraries=$(just cuda-libraries)
    [[ -n "$libraries" ]] && export LD_LIBRARY_PATH="$libraries"
    {{poq}} run experiments/{{EXPERIMENT}}.toml {{FLAGS}}

# Fetch, export and check the models of a pool (flags: --provider cuda, --preflight, --fetch-only, --skip-missing, --force)
models POOL="quick" *FLAGS: (export "--pool" POOL FLAGS)

# Fetch an experiment's models, data sets and ONNX Runtime, and export nothing (flags: --provider, --skip-missing)
fetch EXPERIMENT *FLAGS: (export "--experiment" "experiments/" + EXPERIMENT + ".toml" "--fetch-only" FLAGS)

# Say everything that an experiment still misses on this machine, and fetch nothing
preflight EXPERIMENT *FLAGS: (export "--experiment" "experiments/" + EXPERIMENT + ".toml" "--preflight" FLAGS)

# Models without a committed reference need the environment with torch; what else is missing is said before that is installed.
[private]
export *ARGUMENTS: export-environment
    #!/usr/bin/env bash
    set -euo pipefail
    export PYTHONPATH=export
    python={{export_python}}
    environment=$("$python" -m poq_export {{ARGUMENTS}} --environment)
    if [[ $environment != export ]]; then
        "$python" -m poq_export {{ARGUMENTS}} --preflight --torch-comes || [[ " {{ARGUMENTS}} " == *" --skip-missing "* ]]
        [[ " {{ARGUMENTS}} " == *" --preflight "* ]] && exit
        just reference-environment "$environment"
        python=.venv/$environment/bin/python
    fi
    "$python" -m poq_export {{ARGUMENTS}}

# A Python environment of its own for export/, without torch
[private]
export-environment:
    #!/usr/bin/env bash
    set -euo pipefail
    stamp=.venv/export/requirements.txt
    if ! cmp -s export/requirements.txt "$stamp"; then
        echo "just: installing export/requirements.txt into .venv/export" >&2
        python3 -m venv .venv/export
        {{export_python}} -m pip install --quiet --disable-pip-version-check -r export/requirements.txt
        cp export/requirements.txt "$stamp"
    fi

# The same with torch and transformers, about 6 GB: what records references; NAME is `reference`, or `cuda` with ONNX Runtime's
# build for a GPU (the two builds overwrite each other, so they have environments of their own)
[private]
reference-environment NAME="reference":
    #!/usr/bin/env bash
    set -euo pipefail
    wanted=$(cat export/requirements.txt export/requirements-{{NAME}}.txt)
    stamp=.venv/{{NAME}}/requirements.txt
    if [[ "$wanted" != "$(cat "$stamp" 2>/dev/null || true)" ]]; then
        echo "just: installing export/requirements-{{NAME}}.txt into .venv/{{NAME}}, about 6 GB" >&2
        python3 -m venv .venv/{{NAME}}
        .venv/{{NAME}}/bin/python -m pip install --quiet --disable-pip-version-check -r export/requirements-{{NAME}}.txt
        printf '%s\n' "$wanted" > "$stamp"
    fi

# Fetch ONNX Runtime alone, for a provider (cpu, openvino, cuda): what poq and its tests load, without any model
runtime PROVIDER="cpu":
    PYTHONPATH=export python3 -m poq_export --runtime-only --provider {{PROVIDER}}

# Print an LD_LIBRARY_PATH with CUDA's libraries of .venv/cuda in front, and nothing where there are none
cuda-libraries:
    #!/usr/bin/env bash
    set -euo pipefail
    shopt -s nullglob
    folders=("$PWD"/.venv/cuda/lib/python3*/site-packages/nvidia/*/lib)
    if (( ${#folders[@]} )); then
        joined=$(IFS=:; echo "${folders[*]}")
        echo "$joined${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    fi

# Test the export's Python
[private]
test-export: export-environment
    PYTHONPATH=export {{export_python}} -m unittest discover -s export/tests

# A Python environment with a real server for the judge's test; without it that test says that it did not run
[private]
judge-server:
    #!/usr/bin/env bash
    set -euo pipefail
    stamp=.venv/judge/requirements.txt
    if ! cmp -s tests/requirements-judge.txt "$stamp"; then
        echo "just: installing tests/requirements-judge.txt into .venv/judge" >&2
        python3 -m venv .venv/judge
        .venv/judge/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements-judge.txt &&
            cp tests/requirements-judge.txt "$stamp" ||
            echo "just: there is no xllamacpp for this machine; the judge is not tested against a real server" >&2
    fi

# Run the tests; those on real models run where the models are exported
test: runtime test-export judge-server && test-bench-gpu test-paper
    cargo test --release --locked

# Test the GPU benchmark, which runs on the CPU for that
[private]
test-bench-gpu: runtime export-environment
    PYTHONPATH=benches:benches/peers:export {{export_python}} -m unittest discover -s benches/gpu/tests -t benches

# Test what `reproduce paper` does, on tiny checkpoints and a hub on this machine
[private]
test-paper: runtime export-environment
    cargo build --release --locked
    POQ_BIN={{poq}} PYTHONPATH=export {{export_python}} -m unittest discover -s export/tests -p test_paper_experiment.py

# Test what happens on the host when a GPU computes: ONNX Runtime's CUDA provider, which this brings, on stand-ins for CUDA's libraries
test-cuda: (runtime "cuda") export-environment
    cargo build --release --locked
    POQ_BIN={{poq}} PYTHONPATH=benches:benches/peers:export:tests/cuda {{export_python}} -m unittest discover -s tests/cuda

# Benchmarks without real models: planner, text metrics, executor on a fake backend, simulation, judge, report of a million answers
bench *FILTER:
    cargo bench --locked -- {{FILTER}}

# Flags: --only NAME …, --repeats N, --pairs N, --rows N, --prompts N, --new-tokens N, --rounds N, --out DIR.
# Measure poq against Python tools on the same weights and inputs; brings torch (about 6 GB)
bench-peers *FLAGS: (export "--pool" "quick") (export "--pool" "bench") (runtime "openvino") peers-environment
    cargo build --release --locked
    PYTHONPATH=export .venv/peers/bin/python benches/peers/run.py {{FLAGS}}

# Flags: --dry-run on the CPU, --only PATTERN …, --minutes N, --commit-table, --python PYTHON, --wheels DIR; --help names all.
# Measure poq on a GPU against transformers, vLLM and sentence-transformers on the same card; fetches nothing
bench-gpu *FLAGS:
    #!/usr/bin/env bash
    set -euo pipefail
    # The export's environment where there is one; else a Python that has its packages.
    python=$([[ -x {{export_python}} ]] && echo {{export_python}} || echo python3)
    "$python" benches/gpu {{FLAGS}}

[private]
peers-environment:
    #!/usr/bin/env bash
    set -euo pipefail
    stamp=.venv/peers/requirements.txt
    wanted=$(cat benches/peers/requirements*.txt)
    if [[ "$wanted" != "$(cat "$stamp" 2>/dev/null || true)" ]]; then
        echo "just: installing benches/peers/requirements.txt into .venv/peers" >&2
        python3 -m venv .venv/peers
        pip=(.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check)
        "${pip[@]}" -r benches/peers/requirements.txt
        rm -rf .venv/peers-onnx
        "${pip[@]}" --no-deps --target .venv/peers-onnx -r benches/peers/requirements-onnx.txt
        echo "just: building llama-cpp-python, which takes some minutes" >&2
        "${pip[@]}" -r benches/peers/requirements-llama.txt ||
            echo "just: llama-cpp-python does not build here; generate_vs_llama_cpp will be missing" >&2
        printf '%s\n' "$wanted" > "$stamp"
    fi

# Check formatting, lints and documentation, warnings denied
lint:
    cargo fmt --check
    cargo clippy --release --all-targets --locked -- --deny warnings
    RUSTDOCFLAGS="--deny warnings" cargo doc --release --no-deps --locked

# Format the source
fmt:
    cargo fmt

# Build the documentation of the library
doc:
    cargo doc --release --no-deps --locked
    @echo "open target/doc/poq/index.html"

# What CI runs: lints, tests, CUDA's host side, a small run on the real models, its tables in notebooks' tools, the notebook, its page in a browser
ci: lint (export "--pool" "quick") (runtime "openvino") test test-cuda (reproduce "ci") (check-tables "results/ci") (check-notebook "results/ci") (check-report "results/ci")

# Load every table of a run in pandas, polars and DuckDB and check its columns
check-tables RUN:
    #!/usr/bin/env bash
    set -euo pipefail
    stamp=.venv/tables/requirements.txt
    if ! cmp -s tests/requirements-tables.txt "$stamp"; then
        echo "just: installing tests/requirements-tables.txt into .venv/tables" >&2
        python3 -m venv .venv/tables
        .venv/tables/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements-tables.txt
        cp tests/requirements-tables.txt "$stamp"
    fi
    .venv/tables/bin/python tests/check_tables.py {{RUN}}

# Open the notebook on a run in JupyterLab, with everything it needs installed (RUN: a name under results/, or a path)
notebook RUN="quick": notebook-environment
    POQ_RUN={{quote(RUN)}} .venv/notebook/bin/python -m jupyterlab results/explore.ipynb

# Run the notebook from top to bottom on a run; any error or warning fails
check-notebook RUN: notebook-environment
    .venv/notebook/bin/python tests/run_notebook.py {{quote(RUN)}}

[private]
notebook-environment:
    #!/usr/bin/env bash
    set -euo pipefail
    stamp=.venv/notebook/requirements.txt
    if ! cmp -s results/requirements.txt "$stamp"; then
        echo "just: installing results/requirements.txt into .venv/notebook" >&2
        python3 -m venv .venv/notebook
        .venv/notebook/bin/python -m pip install --quiet --disable-pip-version-check -r results/requirements.txt
        cp results/requirements.txt "$stamp"
    fi

# Flags: --pictures DIR keeps screenshots. CHROMIUM names a browser.
# Open a run's report.html in a headless Chromium and check it; as root on Debian, Chromium is installed where there is none
check-report RUN *FLAGS:
    #!/usr/bin/env bash
    set -euo pipefail
    stamp=.venv/report/requirements.txt
    if ! cmp -s tests/requirements-report.txt "$stamp"; then
        echo "just: installing tests/requirements-report.txt into .venv/report" >&2
        python3 -m venv .venv/report
        .venv/report/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements-report.txt
        cp tests/requirements-report.txt "$stamp"
    fi
    browser() { echo "${CHROMIUM:-$(command -v chromium chromium-browser google-chrome google-chrome-stable chrome | head -n 1 || true)}"; }
    if [[ -z "$(browser)" && "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
        echo "just: installing Chromium" >&2
        { apt-get update --quiet=2 &&
            DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends chromium fonts-dejavu-core; } >/dev/null || true
    fi
    if [[ -z "$(browser)" ]]; then
        echo "just: NOT CHECKED: there is no Chromium on the PATH, and none could be installed: name one in CHROMIUM" >&2
        exit 0
    fi
    .venv/report/bin/python tests/check_report.py {{RUN}} {{FLAGS}}

# Record the references of the parity gates again; brings torch (about 6 GB)
references *KEYS: reference-environment
    PYTHONPATH=export .venv/reference/bin/python export/record_references.py {{KEYS}}
