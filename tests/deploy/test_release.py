"""What the container image holds is all that the service needs."""

from tests.deploy.marks import deploy

pytestmark = deploy


def test_api_and_dispatcher_start_from_the_files_that_the_image_holds(service):
    service.serve()
