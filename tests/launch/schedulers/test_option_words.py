"""Options of the settings as sbatch and oarsub read them: what the policy decides is refused in whatever form it is written."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.core import settings as site
from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import oar_request
from ganhpc.launch.schedulers.base import JobRequest
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.oar_options import OAR
from ganhpc.launch.schedulers.option_words import Grammar, Takes, read
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.schedulers.slurm_options import SLURM

GRAMMARS = {"sbatch": SLURM, "oarsub": OAR}
NOW = dt.datetime(2026, 11, 23, 19, 1, tzinfo=dt.UTC)


def request(**values: object) -> JobRequest:
    base = {"tag": "cafe-1-00", "run": Path("/runs/a"), "segment": 1, "seconds": 600, "kind": "now", "start": NOW}
    return JobRequest(**{**base, **values})  # type: ignore[arg-type]


def forms(grammar: Grammar, name: str, value: str) -> list[str]:
    """Every way to write an option: long, abbreviated, joined or not, short."""
    letters = [letter for letter, long in grammar.short.items() if long == name]
    if grammar.takes[name] is Takes.NOTHING:
        return [f"--{name}", *(f"-{letter}" for letter in letters)]
    cut = [name[:n] for n in range(3, len(name)) if grammar.long(name[:n]) == [name]]
    long = [f"--{each}{join}{value}" for each in (name, *cut[:2]) for join in ("=", " ")]
    return [*long, *(f"-{letter}{join}{value}" for letter in letters for join in ("", " "))]


REFUSED = [(key, form) for key, g in GRAMMARS.items() for name in g.refused for form in forms(g, name, "8:00:00")]


@pytest.mark.parametrize(("command", "form"), REFUSED)
def test_what_the_policy_decides_is_refused_in_every_form(command: str, form: str) -> None:
    with pytest.raises(UserError, match=rf"options has .*, which sets --[\w-]+ of {command}: .*take it out of options"):
        read(GRAMMARS[command], [form])


@pytest.mark.parametrize(
    "form",
    ["--mem=4G --time=8:00:00", "--mem 4G -t8:00", "-vt 8:00", "-Hp main", "--exclusive --tim=8", "-p main -t 8", "-sa0-3", "--nice --time 8", "--unknown --time=9", "'--time=8'"],
)  # fmt: skip
def test_words_behind_others_are_read_too(form: str) -> None:
    with pytest.raises(UserError, match="which sets --"):
        read(SLURM, [form])


@pytest.mark.parametrize(
    ("grammar", "form"), [(OAR, "-t"), (OAR, "-kq"), (OAR, "--type"), (SLURM, "--exclusive -w"), (SLURM, "--mem")]
)
def test_an_option_that_lacks_its_value_takes_no_word_of_ours(grammar: Grammar, form: str) -> None:
    with pytest.raises(UserError, match=rf"lacks its value: write both as one entry, options = ..{form} VALUE"):
        read(grammar, [form, "exotic"])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("--tasks-per-node=4", "type --nodes, --gpus-per-node"), ("--workdir=/x", "setup lines may hold"), ("--priority=0", "holds the job"),
        ("--priority 00", "holds the job"), ("--prio=0", "holds the job"),
    ],
)  # fmt: skip
def test_other_names_of_what_is_decided(form: str, said: str) -> None:
    with pytest.raises(UserError, match=f"options has .*{said}.*take it out of options"):
        read(SLURM, [form])
    assert [word.value for word in read(SLURM, ["--priority=100"])] == ["100"]


@pytest.mark.parametrize(
    "form",
    ["-t deadline=2026-11-30", "-tpostpone=x", "--type=night", "--ty day", "-t exotic -l walltime=8", "--RESOURCE=/host=2", "-kIt exotic", "-t cosystem", "-t noop", "-t 'expire=x'", "-t deploy"],
)  # fmt: skip
def test_types_and_capitals_of_oar(form: str) -> None:
    with pytest.raises(UserError, match="take it out of options"):
        read(OAR, [form])


@pytest.mark.parametrize(
    ("grammar", "form", "said"),
    [
        (SLURM, "#SBATCH --mem=4G", r'begins with #: write the words alone, such as options = \["--mem=4G"\]'),
        (OAR, "#OAR -t exotic", r'options = \["-t exotic"\]'),
        (SLURM, "mem=4G", "'mem=4G' is no option of sbatch"),
        (SLURM, "hetjob", "heterogeneous"),
        (SLURM, "--mem=4G : --mem=2G", "heterogeneous"),
        (OAR, "-t exotic /bin/true", "'/bin/true' is no option of oarsub"),
        (OAR, "-- x", "is no option of oarsub"),
        (SLURM, "--comment='x", "quotes don't match"),
        (OAR, "-Z", "no option -Z"),
    ],
)
def test_other_slips_get_a_sentence(grammar: Grammar, form: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(grammar, [form])


def test_what_nobody_decides_is_taken_and_split() -> None:
    argv = (
        Oar(
            Settings(
                options=(
                    "-t exotic",
                    "--notify=mail:x@y",
                    "-p",
                )[:2]
            )
        )
        .prepare(request())
        .argv
    )
    at = argv.index("-t")
    assert argv[at : at + 2] == ("-t", "exotic") and "--notify=mail:x@y" in argv
    script = (
        Slurm(Settings(options=("--mem=4G --exclude=node7", "-x 'a b'", "--export=NONE"))).prepare(request()).script
    )
    assert {"#SBATCH --mem=4G", "#SBATCH --exclude=node7", "#SBATCH -x 'a b'", "#SBATCH --export=NONE"} <= set(
        script.splitlines()
    )


@pytest.mark.slow  # 17 s of processor time: processes of its own
@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_form_of_a_decided_option_reaches_a_command(data: st.DataObject) -> None:
    """Words in any order: either a sentence refuses them, or none of them is one that the policy decides."""
    grammar = data.draw(st.sampled_from([SLURM, OAR]))
    known = [form for name in sorted(grammar.takes) for form in forms(grammar, name, "x")]
    words = data.draw(st.lists(st.one_of(st.sampled_from(known), st.text("-tlna=: x8", max_size=6)), max_size=4))
    options = tuple(data.draw(st.sampled_from([words, [" ".join(words)]])))
    scheduler = Slurm(Settings(options=options)) if grammar is SLURM else Oar(Settings(options=options))
    try:
        prepared = scheduler.prepare(request())
    except UserError as error:
        assert "options" in str(error)
        return
    typed = list(prepared.argv[1:-1])
    if grammar is SLURM:
        assert "--time=0:10:00" in typed
        typed = [
            w for line in prepared.script.splitlines() if line.startswith("#SBATCH ") for w in shlex.split(line[8:])
        ]
        assert sum(bool(re.match(r"--time\b|-t", word)) for word in typed) == 1
    else:
        assert typed.count("-l") == 1 and typed[typed.index("-l") + 1].endswith("walltime=0:10:00")
        assert not [w for w in typed if re.match(r"--(res|rese)|-[rIC]", w)]


# -- spellings that people and manuals have -----------------------------------------------------------------------------------

ODD = {
    "oarsub": """
        -lwalltime=8 | -l walltime=8:0:0 | -l/host=1,walltime=8 | -l /nodes=2 | --resource=walltime=8 | --resource walltime=8
        --resourc=walltime=8 | --Resource=walltime=8 | --RESOURCE walltime=8 | --resou=x | -t exotic -lwalltime=8 | -kl /host=1
        -q default -l walltime=8 | -qdefault -lwalltime=8 | -p x='y' -l walltime=8 | --notify=mail:x -l walltime=8 | -t besteffort -lx
        -r '2026-11-30 09:00:00' | -r2026-11-30 | --reservation='2026-11-30 9:00' | --reservation 2026-11-30 | --Reserv=x | --reserva x
        --res=x | --re x | --r x | -kr '2026-11-30 09:00:00' | -t exotic -r now
        -a 12 | -a12 | --anterior=12 | --anterior 12 | --ante=12 | --ANTERIOR=12 | -ka12 | -t exotic -a 12
        --after=12 | --after 12 | --AFTER=12 | --After 12 | --aft=12 | --afte 12 | --a=12 | --an 12 | --af 12 | -t exotic --after 12
        --array=4 | --array 4 | --arra=4 | --ARRAY 4 | --array-param-file=p.txt | --array-param-file p.txt | --array-p p.txt | --ar 4
        --hold | --hol | --ho | --HOLD | -t exotic --hold
        -n name | -nname | --name=x | --name x | --nam=x | --NAME=x | -kn x | --na x
        -O out | -Oout | --stdout=out | --stdout out | --stdo=x | -E err | -Eerr | --stderr=err | --stder err | -O /dev/null -E /dev/null
        -d /tmp | -d/tmp | --directory=/tmp | --directory /tmp | --dir=/tmp | --direct /tmp
        --checkpoint=60 | --checkpoint 60 | --check=60 | --signal=12 | --signal 12 | --sig=12
        -I | -kI | --interactive | --inter | -C 12 | -C12 | --connect=12 | --conn 12 | --resubmit=12 | --resub 12 | -S | --scanscript | --scan
        -X | -Y | -J | -D | --xml | --yaml | --json | --dumper | -h | --help | -V | --version | -kJ | -JX
        -t deadline=x | -tdeadline=x | --type=deadline=x | --type deadline=x | --typ deadline=x | -t 'deadline=2026-11-30 09:00:00'
        -t postpone='2026-11-30 09:00' | -t expire=x | -t day | -t night | -t state=permissive | -t noop | -t cosystem | -t container
        -t placeholder=x | -t set_placeholder=x | -t desktop_computing | -t idempotent | -t deploy | -t DEPLOY | -t ' deploy' | -t Night
        --TYPE=night | -ktnight | -t exotic -t night | -t 'night ' | -t exotic -t deploy | -t container=x
    """,
    "sbatch": """
        -t8 | -t 8 | -t=8 | --time=8 | --time 8 | --tim=8 | --time-m=8 | --time-min 8 | -Ht8 | -vt8 | -vvt 8 | -t8:00:00 | -t 1-0 | --ti 8
        --mem=4G -t8 | -c4 -t8 | -N1 | --nodes=2 | --node 2 | -n4 | --ntasks=4 | --ntasks-per-node=2 | --gpus-per-node=2 | --gpus-per-n 2
        -a0-3 | -a 0-3 | -a=0-3 | --array=0-3 | --array 0-3%2 | --arr=0-3 | --ar 1 | -vHa0 | -b now+1hour | -b=noon | --begin=noon | --beg x
        --deadline=x | --deadl x | -H | --hold | --hol | -I | -I5 | --immediate | -d afterok:12 | -dafterok:12 | -P 12 | --dependency=singleton
        --depend=x | -J x | -Jx | --job-name=x | --job x | -o x | -ox | --output=x | --out x | -e x | --error=x | --err=x | --open-mode=append
        --comment=x | --comm x | --signal=B:USR1@60 | --sig x | --requeue | --req | --no-requeue | --no-req | -D /tmp | -D/tmp | --chdir=/tmp
        --chd /tmp | --test-only | --test | --wrap=x | --wrap x | --wra=x | --parsable | --pars | -Q | --quiet | -W | --wait | -h | --help
        --usage | -V | --version | -M c | --clusters=c | --clust c | --uid=0 | --gid 0 | --reservation=r | --reserv r | -F f | --nodefile=f
    """,
}  # fmt: skip
SPELLINGS = [
    (key, form.strip()) for key, text in ODD.items() for line in text.strip().splitlines() for form in line.split("|")
]


@pytest.mark.slow  # 23 s in all
@pytest.mark.parametrize(("command", "form"), SPELLINGS)
def test_odd_spellings_of_what_is_decided(command: str, form: str) -> None:
    """The words as they are written, before and behind others, and as one entry or several."""
    others = ("-q x", "-p y") if command == "oarsub" else ("--mem=1G", "-p x")
    for options in ([form], [others[0], form], [form, others[1]], [f"{others[0]} {form} {others[1]}"]):
        with pytest.raises(UserError, match=r"take it out of options\.$|write both as one entry"):
            read(GRAMMARS[command], options)
    scheduler = Slurm(Settings(options=(form,))) if command == "sbatch" else Oar(Settings(options=(form,)))
    with pytest.raises(UserError, match="take it out of options"):
        scheduler.prepare(request())


HARMLESS = [
    ("oarsub", "-t exotic"), ("oarsub", "-texotic"), ("oarsub", "--type=besteffort"), ("oarsub", "-t inner=12"), ("oarsub", "-k"),
    ("oarsub", "-p gpu_model='A100'"), ("oarsub", "--project=x"), ("oarsub", "--notify mail:me@x"), ("oarsub", "-q production"), ("oarsub", "-t allow_classic_ssh"),
    ("oarsub", "-t monitor=wattmeter"), ("oarsub", "-t nights"), ("oarsub", "-t after"), ("oarsub", "--project=after"), ("oarsub", "-q night"),
    ("sbatch", "--mem=4G"), ("sbatch", "--exclusive"), ("sbatch", "--constraint=time"), ("sbatch", "-p array"), ("sbatch", "-w node1"), ("sbatch", "--mail-type=END"),
    ("sbatch", "--export=NONE"), ("sbatch", "--nice"), ("sbatch", "-c 4"), ("sbatch", "-x hold"), ("sbatch", "--qos=deadline"), ("sbatch", "--account time"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "form"), HARMLESS)
def test_words_that_only_look_like_it_are_taken(command: str, form: str) -> None:
    assert [typed for word in read(GRAMMARS[command], [form]) for typed in word.typed] == shlex.split(form)


# -- resources and properties -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"resources": "-l /host=1/gpu=1"}, 'resources = "/host=1/gpu=1"'),
        ({"resources": "/host=1,walltime=8:00:00"}, r'walltime is the policy.*resources = "/host=1"'),
        ({"resources": "walltime=8"}, 'resources = "/host=1/gpu=1"'),
        ({"resources": "/host=1 -t exotic"}, "write those in options"),
        ({"resources": "-lhost=1/gpu=1,walltime=8"}, 'begins with -l.* resources = "host=1/gpu=1"'),
        ({"resources": '#OAR -l "/host=1,walltime=8"'}, 'begins with -l.* resources = "/host=1"'),
        ({"resources": "oarsub --resource=/host=1"}, 'begins with --resource.* resources = "/host=1"'),
        ({"properties": "-p gpu_model='A100'"}, r"""begins with -p.* properties = "gpu_model='A100'"\."""),
        ({"properties": "-p \"gpu_model='A100'\""}, r"""begins with -p.* properties = "gpu_model='A100'"\."""),
        ({"properties": "-pgpu_model='A100'"}, r"""begins with -p.* properties = "gpu_model='A100'"\."""),
        (
            {"properties": "gpu_model='A100' -l walltime=8"},
            r"""walltime is the policy.* properties = "gpu_model='A100'"\.""",
        ),
        ({"properties": "gpu_model='A100' -t exotic"}, "properties is .*write those in options"),
        ({"properties": "walltime=8"}, r"""walltime is the policy.* properties = "gpu_model = 'A100'"\."""),
        ({"queue": "-q production"}, 'queue is .*begins with a dash.* queue = "production"'),
        ({"queue": "-qproduction"}, 'queue = "production"'),
        ({"project": "--project=lab"}, 'project = "lab"'),
        ({"gpu_model": "-p A100"}, 'gpu_model = "A100"'),
        ({"cluster": "-"}, 'cluster = "NAME"'),
        ({"resources": "gpu=4"}, 'may be on several nodes.* resources = "/host=1/gpu=4"'),
        ({"resources": "cluster=1/gpu=2"}, 'resources = "cluster=1/host=1/gpu=2"'),
        ({"constraint": "-p gpu_mem > 16000"}, 'begins with -p.* constraint = "gpu_mem > 16000"'),
        ({"properties": "cluster='x'", "cluster": "y"}, "names cluster already"),
    ],
)
def test_resources_and_properties_hold_their_values_alone(written: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Oar(Settings(**written)).prepare(request())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "resources", ["gpu=1", "/host=1/gpu=4", "nodes=2/gpu=2", "{gpu=4}/core=1", "/cluster=1/host=1/gpu=2"]
)
def test_gpus_of_one_node_are_taken_as_they_are(resources: str) -> None:
    argv = Oar(Settings(resources=resources)).prepare(request()).argv
    assert argv[argv.index("-l") + 1] == f"{resources},walltime=0:10:00"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"partition": "--partition=gpu"}, 'partition = "gpu"'),
        ({"account": "-A lab"}, 'account = "lab"'),
        ({"qos": "-q long"}, 'qos = "long"'),
        ({"constraint": "-C a100"}, 'constraint = "a100"'),
        ({"gpu_model": "--gpus=a100"}, 'gpu_model = "a100"'),
    ],
)
def test_names_in_the_settings_of_slurm_stand_alone(written: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=f"begins with a dash: write the name alone, {said}"):
        Slurm(Settings(**written)).prepare(request(gpus_per_node=1))  # type: ignore[arg-type]


def test_gpus_of_a_whole_job_are_not_shared_out_among_typed_nodes() -> None:
    """`--gpus=4` on two nodes made four processes on each."""
    site = Settings(options=("--gpus=4",))
    with pytest.raises(UserError, match=r"--nodes 2 is typed.*write gpus_per_node"):
        Slurm(site).prepare(request(nodes=2, gpus_per_node=4))
    assert "#SBATCH --gpus=4\n" in Slurm(site).prepare(request(gpus_per_node=4)).script


@pytest.mark.parametrize("properties", ["host = 'a -l walltime'", "gpu_mem > -5", "NOT cluster='x'", "memcore - 5 > 3"])
def test_names_and_numbers_in_properties_are_no_words_of_oarsub(properties: str) -> None:
    argv = Oar(Settings(properties=properties)).prepare(request()).argv
    assert argv[argv.index("-p") + 1] == properties


@pytest.mark.parametrize(
    ("resources", "nodes", "gpus", "made"),
    [
        ("/host=1/gpu=1", 2, 2, "/host=2/gpu=2"),
        ("host=1/gpu=1", None, 2, "host=1/gpu=2"),
        ("nodes=1", 3, None, "nodes=3"),
        ("/host=1", None, 2, "/host=1/gpu=2"),
        ("/core=4", 2, None, "/nodes=2/core=4"),
        ("{gpu_model='x'}/core=4", 2, None, "{gpu_model='x'}/nodes=2/core=4"),
        ("/host=1/gpu=1", None, 0, "/host=1"),
        ("/host=1/gpu=1", None, None, "/host=1/gpu=1"),
    ],
)
def test_typed_numbers_go_before_the_settings(resources: str, nodes: int | None, gpus: int | None, made: str) -> None:
    assert oar_request.with_typed(resources, nodes, gpus) == made


@pytest.mark.parametrize(("resources", "gpus"), [("/host=1/core=4", 2), ("/host=1/gpu=1+/host=2", 2)])
def test_a_contradiction_is_refused(resources: str, gpus: int) -> None:
    with pytest.raises(UserError, match="resources in the settings is"):
        oar_request.with_typed(resources, None, gpus)


@pytest.mark.parametrize(
    ("text", "said"),
    [('options = "--mem=100M"', r'write a list such as \["--mem=100M"\]'), ('setup = "module load x"', r'\["module load x"\]'), ("options = 3", r'\["--exclude=node7"\]')],
)  # fmt: skip
def test_the_example_belongs_to_the_option_at_hand(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UserError, match=said):
        site.read(tmp_path / "c.toml")
