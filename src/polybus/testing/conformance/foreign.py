"""D14: what others publish is delivered."""

from __future__ import annotations

from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment
from polybus.testing.topology import MAX_ATTEMPTS

__all__ = ["Foreign"]


class Foreign(Suite):
    """D14: a producer that has never heard of polybus."""

    async def test_D14_a_foreign_message_is_delivered(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("events", "audit")):
            listener = await env.shared(source)
            body = env.name("foreign").encode()
            await env.rig.publish_foreign(env.binding.target(target), body, {"region": "eu"}, None)
            delivery = await listener.find(body)
            await delivery.ack()
            assert dict(delivery.attributes) == {"region": "eu"}
            assert delivery.id
            assert delivery.attempt == 1

    async def test_D14_a_foreign_message_with_nothing_but_a_body_is_delivered(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        body = env.name("bare").encode()
        await env.rig.publish_foreign(env.binding.target("jobs"), body, {}, None)
        delivery = await jobs.find(body)
        await delivery.ack()
        assert dict(delivery.attributes) == {}

    @needs_order
    async def test_D14_on_an_ordered_entity_it_needs_the_clouds_own_key(self, env: Environment) -> None:
        for target, source in (("serial", "serial"), ("orders", "strict")):
            listener = await env.shared(source)
            key = env.name("key")
            bodies = [env.name("foreign").encode() for _ in range(2)]
            for body in bodies:
                await env.rig.publish_foreign(env.binding.target(target), body, {}, key)
            first = await listener.find(bodies[0])
            await env.fence(target, listener)
            assert not any(each.body == bodies[1] for each in listener.seen)
            await first.ack()
            second = await listener.find(bodies[1])
            await second.ack()
            assert first.ordering_key == second.ordering_key == key

    async def test_D14_a_foreign_message_passes_filters(self, env: Environment) -> None:
        europe = await env.shared("eu")
        body = env.name("foreign").encode()
        await env.rig.publish_foreign(env.binding.target("filtered"), body, {"region": "eu"}, None)
        await (await europe.find(body)).ack()

    async def test_D14_what_others_may_send_and_polybus_may_not_is_redriven_too(self, env: Environment) -> None:
        """Names and keys of another program's making: they were delivered, and go back as they were."""
        await self._there_and_back(env, "jobs", "jobs", None)
        await self._there_and_back(env, "events", "audit", None)
        if env.rig.ordering:
            await self._there_and_back(env, "serial", "serial", env.rig.foreign_key)

    async def test_D14_a_foreign_message_is_retried_dead_lettered_and_redriven(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        body = env.name("foreign").encode()
        await env.rig.publish_foreign(env.binding.target("jobs"), body, {"region": "eu"}, None)
        for _ in range(MAX_ATTEMPTS):
            delivery = await jobs.find(body)
            await delivery.nack(delay=0)
        letter = await env.letter("jobs", delivery.id)
        assert (letter.message.body, dict(letter.message.attributes)) == (body, {"region": "eu"})
        letters = env.bus.dead_letters("jobs")
        done = await env.hasten(letters.redrive(match=lambda message: message.id == delivery.id))
        assert done == 1
        again = await jobs.find(body)
        await again.ack()
        assert (again.id, dict(again.attributes)) == (delivery.id, {"region": "eu"})

    async def _there_and_back(self, env: Environment, target: str, source: str, key: str | None) -> None:
        listener = await env.shared(source)
        body = env.name("foreign").encode()
        attributes = {**env.rig.foreign_attributes, "region": "eu"}
        await env.rig.publish_foreign(env.binding.target(target), body, attributes, key)
        delivery = await listener.find(body)
        assert dict(delivery.attributes) == attributes
        await delivery.dead_letter("Bad")
        letter = await env.letter(source, delivery.id)
        assert dict(letter.message.attributes) == attributes
        letters = env.bus.dead_letters(source)
        assert await env.hasten(letters.redrive(match=lambda message: message.id == delivery.id)) == 1
        again = await listener.find(body)
        await again.ack()
        assert (again.id, dict(again.attributes), again.ordering_key) == (delivery.id, attributes, key)
