//! Reading the followed log, restricted to the events of one follower and partition.

use super::EVENTS_PER_PAGE_MAX;
use super::cursor::Cursor;
use super::partition::Partition;
use super::worker::FollowerWorker;
use crate::LogPages;
use crate::store::{LogChecksumsQuery, LogPage, LogQuery, Position, StoreError};

impl<S> FollowerWorker<S> {
    /// Returns the next page of events that it takes. The page after it is read in the background.
    pub(super) async fn next_page(&self, cursor: &mut Cursor) -> Result<LogPage, StoreError> {
        let reached = cursor.reached;
        let epoch = cursor.proven().unwrap_or(self.upstream.epoch());
        let pages = match &mut cursor.pages {
            Some(pages) if pages.after() == reached => pages,
            pages => pages.insert(LogPages::behind(
                self.upstream.clone(),
                self.query_after(reached),
                epoch,
            )),
        };
        Ok(self.of_partition(pages.next().await?))
    }

    /// Waits until there is an event after `position`, or a new epoch of the log has begun.
    pub(crate) async fn wait_beyond(&self, position: Position) -> Result<(), StoreError> {
        let epoch = self.status.borrow().epoch;
        match self.upstream.wait_beyond(position, epoch).await {
            Ok(_) | Err(StoreError::OutdatedEpoch { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns a page of the events after `position` that it takes.
    async fn page_after(&self, position: Position) -> Result<LogPage, StoreError> {
        Ok(self.of_partition(self.upstream.read_log(self.query_after(position)).await?))
    }

    fn query_after(&self, position: Position) -> LogQuery {
        LogQuery::after(position)
            .limit(EVENTS_PER_PAGE_MAX)
            .categories(self.takes())
    }

    pub(super) fn of_partition(&self, mut page: LogPage) -> LogPage {
        page.events
            .retain(|event| self.partition.contains(&event.stream));
        page
    }

    /// Returns the position before the first event after `position` that the follower takes, or the
    /// end of the log. The process that runs the follower does not store each position that it
    /// skips to, so the stored one can lag behind.
    pub(super) async fn skipped_to(&self, mut position: Position) -> Result<Position, StoreError> {
        loop {
            let page = self.page_after(position).await?;
            match page.events.first() {
                Some(next) => return Ok(Position::new(next.position.as_u64() - 1)),
                None if page.ceiling == position => return Ok(position),
                None => position = page.ceiling,
            }
        }
    }

    /// Returns the number of events after `reached` up to `head` that it has still to process.
    pub(crate) async fn lag(&self, reached: Position, head: Position) -> Result<u64, StoreError> {
        if reached >= head {
            return Ok(0);
        }
        if self.partition == Partition::WHOLE
            && let Some(audit) = self.upstream.audit()
        {
            let query = LogChecksumsQuery::new(reached, head).categories(self.takes());
            return Ok(audit
                .checksums(query)
                .await?
                .values()
                .map(|checksums| checksums.count)
                .sum());
        }
        let mut events = 0;
        let mut position = reached;

        while position < head {
            let page = self.page_after(position).await?;
            events += page.events.len() as u64;
            position = page.ceiling;
        }
        Ok(events)
    }
}
