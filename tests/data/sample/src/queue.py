class Queue:
    def drain(self, limit):
        """Take up to `limit` items from the queue.

        :param limit: how many
        """
        items = self.items[:limit]
        del self.items[:limit]
        return items
