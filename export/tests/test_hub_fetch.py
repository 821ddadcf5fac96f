"""Fetching from the hub: whole, in pieces, damaged, refused, offline."""

from __future__ import annotations

import unittest

from hub_case import HubCase

WEIGHTS = "model.safetensors"
SHARD = "model-00001-of-00002.safetensors"


class Fetching(HubCase):
    """Downloads that stop."""

    def leave_a_part(self) -> None:
        """A run that got 100,000 bytes of the weights and then nothing for as long as it asks."""
        self.hub.faults.cuts = {WEIGHTS: [100_000]}
        self.hub.faults.statuses = {WEIGHTS: [200] + [503] * 8}
        self.ran = self.fetch()


class Fetch(Fetching):
    def test_files_arrive_in_the_clients_cache_and_nowhere_else(self) -> None:
        self.checkpoint("llama", sharded=True)
        ran = self.fetch(token=True)
        self.assertEqual(ran.code, 0, ran.said)
        for name in ("config.json", "tokenizer.json", "model.safetensors.index.json", SHARD, SHARD.replace("1-", "2-", 1)):
            (path,) = self.fetched(name)
            self.assertEqual(path.read_bytes(), (self.scratch / "published/llama" / name).read_bytes(), name)
            self.assertIn(f"fetched {name}", ran.said)
        self.assertFalse((self.models / ".cache/artifacts").exists())
        self.assertEqual(self.left_over(), [])
        self.assertEqual(
            [headers.get("authorization") for headers in self.hub.gets("config.json")], ["Bearer " + self.hub.token]
        )
        self.assertEqual(
            [headers.get("authorization") for headers in self.hub.gets(SHARD)], [None], "the store got the token"
        )
        before = len(self.hub.asked)
        self.assertEqual(self.fetch().code, 0)
        self.assertEqual(len(self.hub.asked), before, "what is there is not asked for again")

    def test_a_download_that_is_cut_goes_on_where_it_stopped(self) -> None:
        self.checkpoint("llama")
        self.hub.faults.cuts = {WEIGHTS: [100_000, 0, 50_000], "tokenizer.json": [7]}
        ran = self.fetch()
        self.assertEqual(ran.code, 0, ran.said)
        asked = [headers.get("range") for headers in self.hub.gets(WEIGHTS)]
        self.assertEqual(asked, [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"])
        self.assertIn("trying again", ran.said)
        self.assertEqual(self.fetched(WEIGHTS)[0].read_bytes(), (self.scratch / "published/llama" / WEIGHTS).read_bytes())

    def test_the_next_run_goes_on_with_what_a_killed_one_left(self) -> None:
        self.checkpoint("llama")
        self.leave_a_part()
        ran = self.ran
        self.assertEqual(ran.code, 1, ran.said)
        self.assertRegex(ran.said, "gave up after 8 attempts, 0.1 MB of .* are kept")
        (partial,) = self.left_over()
        self.assertEqual(partial.stat().st_size, 100_000)
        self.assertIn("its cache lacks", self.fetch("--preflight", HF_ENDPOINT="http://127.0.0.1:9").said)
        self.hub.asked.clear()
        self.assertEqual(self.fetch().code, 0)
        self.assertEqual([headers.get("range") for headers in self.hub.gets(WEIGHTS)], ["bytes=100000-"])
        self.assertEqual(self.left_over(), [])

    def test_a_busy_server_is_asked_again(self) -> None:
        self.checkpoint("llama")
        self.hub.faults.statuses = {WEIGHTS: [503, 429], "config.json": [500]}
        ran = self.fetch()
        self.assertEqual(ran.code, 0, ran.said)
        self.assertEqual(len(self.hub.gets(WEIGHTS)), 3)
        self.assertIn("status 503", ran.said)

    def test_a_server_that_does_not_resume_sends_all_of_it(self) -> None:
        self.checkpoint("llama")
        self.hub.faults.deaf_to_ranges = True
        self.hub.faults.cuts = {WEIGHTS: [100_000]}
        self.assertEqual(self.fetch().code, 0)
        self.assertEqual(self.fetched(WEIGHTS)[0].read_bytes(), (self.scratch / "published/llama" / WEIGHTS).read_bytes())

    def test_damaged_files_are_named_with_both_hashes_and_thrown_away(self) -> None:
        self.checkpoint("llama")
        for name, kind in (("config.json", "git sha1 is [0-9a-f]{40}"), (WEIGHTS, "sha256 is [0-9a-f]{64}")):
            with self.subTest(name):
                self.hub.faults.damaged = {name}
                ran = self.fetch()
                self.assertEqual(ran.code, 1, ran.said)
                self.assertRegex(ran.said, f"{name} arrived damaged: its {kind}, the hub says [0-9a-f]+; it was thrown away")
                self.assertIn("model `tiny_llama`", ran.said)
                self.assertEqual(self.fetched(name) + self.left_over(), [])
        self.hub.faults.damaged = set()
        self.assertEqual(self.fetch().code, 0)

    def test_a_file_put_together_wrongly_gets_one_more_chance(self) -> None:
        self.checkpoint("llama")
        self.leave_a_part()
        (partial,) = self.left_over()
        partial.write_bytes(bytes(100_000))
        ran = self.fetch()
        self.assertEqual(ran.code, 0, ran.said)
        self.assertIn("put together from two runs and damaged", ran.said)

    def test_a_cached_file_that_rotted_is_fetched_again(self) -> None:
        self.checkpoint("llama")
        self.fetch()
        (path,) = self.fetched(WEIGHTS)
        path.write_bytes(b"rotten")
        ran = self.fetch(HF_HUB_OFFLINE="1")
        self.assertEqual(ran.code, 1)
        self.assertIn("thrown away", ran.said)
        self.assertEqual(self.fetch().code, 0)
        self.assertEqual(self.fetched(WEIGHTS)[0].read_bytes(), (self.scratch / "published/llama" / WEIGHTS).read_bytes())

    def test_the_registrys_own_hash_counts_more_than_the_hubs(self) -> None:
        commit = self.checkpoint("llama")
        self.entries = self.entries[: self.entries.rindex("[[model.artifact]]")]
        self.list_file("tiny/llama", commit, "config.json", 'sha256 = "' + "0" * 64 + '"')
        ran = self.fetch()
        self.assertEqual(ran.code, 1)
        self.assertRegex(ran.said, "config.json arrived damaged: its sha256 is [0-9a-f]{64}, the registry says 0{64}")

    def test_offline_a_full_cache_is_enough_and_an_empty_one_says_what_it_lacks(self) -> None:
        commit = self.checkpoint("llama")
        ran = self.fetch(HF_HUB_OFFLINE="1")
        self.assertEqual(ran.code, 1)
        self.assertIn("HF_HUB_OFFLINE is set", ran.said)
        self.assertIn(f"tiny/llama@{commit}: config.json", ran.said)
        self.assertEqual(self.hub.asked, [])
        self.assertEqual(self.fetch().code, 0)
        self.hub.close()
        ran = self.fetch(HF_HUB_OFFLINE="1")
        self.assertEqual(ran.code, 0, ran.said)
        ran = self.fetch(HF_ENDPOINT="http://127.0.0.1:9")
        self.assertEqual(ran.code, 0, "what is cached needs no hub, offline or not: " + ran.said)


class FullDisk(Fetching):
    def test_it_is_said_how_much_was_needed_and_what_arrived_is_kept(self) -> None:
        self.checkpoint("llama")
        self.leave_a_part()
        (partial,) = self.left_over()
        partial.unlink()
        partial.symlink_to("/dev/full")  # where every write finds the disk full
        ran = self.fetch()
        self.assertEqual(ran.code, 1)
        self.assertRegex(ran.said, "no space left on the disk of `.*`: model.safetensors needs .* more, .* GB are free")
        self.assertIn("model `tiny_llama`", ran.said)


class Refused(HubCase):
    def test_a_gated_model_names_its_page_and_the_variable(self) -> None:
        self.checkpoint("gemma2", gated=True)
        ran = self.fetch()
        self.assertEqual(ran.code, 1)
        self.assertIn("no token of the hub: set HF_TOKEN", ran.said)
        self.assertIn("accept its licence at https://huggingface.co/tiny/gemma2", ran.said)
        self.assertEqual(ran.said.count("is gated: accept"), 1, "once for the repository, not for every file")
        self.hub.granted = False
        ran = self.fetch(token=True)
        self.assertEqual(ran.code, 1)
        self.assertIn("the account of the token in HF_TOKEN may not read it", ran.said)
        self.hub.granted = True
        self.assertEqual(self.fetch(token=True).code, 0)

    def test_it_is_refused_in_the_middle_as_well(self) -> None:
        self.checkpoint("gemma2", gated=True)
        ran = self.fetch("--skip-missing")
        self.assertEqual(ran.code, 0)
        self.assertRegex(ran.said, "model `tiny_gemma2` was not fetched from hub tiny/gemma2@.*accept its licence at")

    def test_a_token_that_the_hub_does_not_know_is_not_repeated(self) -> None:
        self.checkpoint("llama")
        ran = self.fetch(HF_TOKEN="hf_withdrawn_long_ago")
        self.assertEqual(ran.code, 1)
        self.assertIn("does not accept the token in HF_TOKEN", ran.said)

    def test_missing_revisions_and_files_are_named(self) -> None:
        commit = self.checkpoint("llama")
        self.list_file("tiny/llama", commit, "merges.txt")
        self.checkpoint("qwen2")
        self.entries = self.entries.replace(self.hub.repositories["model", "tiny/qwen2"].commit, "0" * 40)
        self.list_file("nobody/nothing", "1" * 40, "vocab.json")
        ran = self.fetch()
        self.assertEqual(ran.code, 1)
        self.assertIn(f"`tiny/llama` has no file `merges.txt` at revision {commit}", ran.said)
        self.assertIn(f"`tiny/qwen2` has no revision {'0' * 40}", ran.said)
        self.assertEqual(ran.said.count("has no revision"), 1)
        self.assertIn("no model `nobody/nothing`, or it is private", ran.said)
        self.assertIn("preflight: 3 missing", ran.said)


class Server(HubCase):
    def test_the_clients_own_calls_are_answered(self) -> None:
        from huggingface_hub import HfApi

        commit = self.checkpoint("llama", sharded=True)
        api = HfApi(endpoint=self.hub.address, token=False)
        info = api.model_info("tiny/llama", revision=commit)
        self.assertEqual(info.sha, commit)
        sizes = {entry.path: entry.lfs and entry.lfs.sha256 for entry in api.list_repo_tree("tiny/llama", revision=commit)}
        self.assertEqual(len(sizes[SHARD]), 64)
        self.assertIsNone(sizes["config.json"])
        self.assertNotIn(WEIGHTS, sizes)


if __name__ == "__main__":
    unittest.main()
